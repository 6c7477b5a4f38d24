package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mailbeacon/internal/token"
)

func newKeyringCommand(c *cli) *cobra.Command {
	cmd := group("keyring", "The keys that the tokens in mail are made with")
	k := &keyring{cli: c}
	dataFlag(cmd.PersistentFlags(), &k.data)
	cmd.PersistentFlags().BoolVar(&k.json, "json", false, "print JSON")
	cmd.PersistentFlags().StringVar(&k.file, "file", "", "the keyring `FILE`, where it is not that of a data folder")
	cmd.AddCommand(k.create(), k.rotate(), k.list(), k.retire(), k.public())
	return cmd
}

// keyring works on the keyring file of a data folder; a server that runs there takes changes up
// within seconds.
type keyring struct {
	*cli
	data, file string
	json       bool
}

func (k *keyring) path() string {
	if k.file != "" {
		return k.file
	}
	return filepath.Join(k.dataDir(k.data), keyringFile)
}

func (k *keyring) create() *cobra.Command {
	var ifMissing bool
	cmd := &cobra.Command{
		Use:   "create FILE",
		Short: "Make the keyring of a cluster, for its edges and admins to share",
		Long: `Make a keyring with one key. Every edge and every admin of a cluster needs the same file (mode 0600). Back
it up: without it, sent mail is dead and nobody's refusal is known. mailbeacon serve makes its own.`,
		Example: "  mailbeacon keyring create /etc/mailbeacon/keyring.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			made := true
			_, err := token.CreateKeyring(args[0])
			if ifMissing && errors.Is(err, fs.ErrExist) {
				made = false
				_, err = token.LoadKeyring(args[0])
			}
			if err != nil {
				return err
			}
			if k.json {
				return k.printJSON(map[string]any{"file": args[0], "made": made})
			}
			says := "made %s; back it up, and bring it to every edge and admin\n"
			if !made {
				says = "%s is there, and stays as it is\n"
			}
			_, err = fmt.Fprintf(k.stdout, says, args[0])
			return err
		},
	}
	cmd.Flags().BoolVar(&ifMissing, "if-missing", false, "leave a good keyring that is there as it is, without an error")
	return cmd
}

func (k *keyring) rotate() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Make new mail with a new key; mail already sent goes on working",
		Long: `Make a new key that new mail is made with. The former key stays live, so mail already sent goes on
working. A running server takes it up within seconds. Back the file up afterwards.`,
		Example: "  mailbeacon keyring rotate",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			id, err := token.Rotate(k.path(), time.Now())
			if err != nil {
				return err
			}
			if k.json {
				return k.printJSON(map[string]any{"active": id})
			}
			_, err = fmt.Fprintf(k.stdout, "key %d is active now; back up %s\n", id, k.path())
			return err
		},
	}
}

func (k *keyring) list() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the keys, without their secrets",
		Example: "  mailbeacon keyring list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ring, err := token.LoadKeyring(k.path())
			if err != nil {
				return err
			}
			if k.json {
				type shown struct {
					ID      uint8          `json:"id"`
					State   token.KeyState `json:"state"`
					Created time.Time      `json:"created"`
				}
				all := []shown{}
				for _, key := range ring.Keys() {
					all = append(all, shown(key))
				}
				return k.printJSON(all)
			}
			t := tabwriter.NewWriter(k.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "KEY\tSTATE\tCREATED")
			for _, key := range ring.Keys() {
				fmt.Fprintf(t, "%d\t%s\t%s\n", key.ID, key.State, key.Created.Format("2006-01-02 15:04:05 MST"))
			}
			return t.Flush()
		},
	}
}

func (k *keyring) public() *cobra.Command {
	return &cobra.Command{
		Use:   "public",
		Short: "Print the keys that consent receipts are verified with",
		Long: `Print the keys that consent receipts are verified with, one a line: those of all keys that ever were, so that
old receipts stay good. They are no secret. mailbeacon consent verify takes the file.`,
		Example: "  mailbeacon keyring public > receipts.pub",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ring, err := token.LoadKeyring(k.path())
			if err != nil {
				return err
			}
			if k.json {
				type shown struct {
					ID     uint8  `json:"id"`
					Public []byte `json:"ed25519"`
				}
				all := []shown{}
				for _, key := range ring.ReceiptKeys() {
					all = append(all, shown{key.ID, key.Public})
				}
				return k.printJSON(all)
			}
			for _, key := range ring.ReceiptKeys() {
				if _, err := fmt.Fprintln(k.stdout, key); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (k *keyring) retire() *cobra.Command {
	sure := false
	cmd := &cobra.Command{
		Use:   "retire KEY",
		Short: "Throw a key away: every mail made with it has dead links from then on",
		Long: `Throw a live key's secret away, for good: every pixel, link and preference page in mail made with it
stops working. It asks before it does; --yes answers. The active key can't be retired; rotate first.`,
		Example: "  mailbeacon keyring retire 1",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 8)
			if err != nil {
				return usagef("%q is no key's number; `mailbeacon keyring list` shows them", args[0])
			}
			if !sure {
				if err := k.confirm(id); err != nil {
					return err
				}
			}
			if err := token.Retire(k.path(), uint8(id)); err != nil {
				return err
			}
			if k.json {
				return k.printJSON(map[string]any{"retired": id})
			}
			_, err = fmt.Fprintf(k.stdout, "key %d is retired\n", id)
			return err
		},
	}
	cmd.Flags().BoolVar(&sure, "yes", false, "do not ask")
	return cmd
}

func (k *keyring) confirm(id uint64) error {
	fmt.Fprintf(k.stderr, "All links in mail made with key %d will be dead, for good. Type the key's number to go on: ", id)
	line, _ := bufio.NewReader(k.stdin).ReadString('\n') // an end of input is an answer too: not confirmed
	if strings.TrimSpace(line) != strconv.FormatUint(id, 10) {
		return usagef("key %d stays: not confirmed", id)
	}
	return nil
}
