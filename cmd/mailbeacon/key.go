package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mailbeacon/internal/api"
	"mailbeacon/internal/report"
)

func newKeyCommand(c *cli) *cobra.Command {
	cmd := group("key", "Keys of the private side, kept hashed in the data folder")
	var data string
	var asJSON bool
	dataFlag(cmd.PersistentFlags(), &data)
	cmd.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(newKeyAdd(c, &data, &asJSON), newKeyList(c, &data, &asJSON), newKeyRevoke(c, &data, &asJSON))
	return cmd
}

func newKeyAdd(c *cli, data *string, asJSON *bool) *cobra.Command {
	var role, advertiser string
	cmd := &cobra.Command{
		Use:   "add NAME --role ROLE",
		Short: "Make a key and print it, once",
		Long: `Make a key and print it. It can't be shown again: only its hash is kept. A running server takes it
within a second or two. It works on the data folder, so it is to be called on the server's machine.

Roles: sender registers campaigns, mints, tells of deliveries and follows consent; marketer registers
campaigns and reads reports; privacy records and looks up consent and lists whom to ask again;
advertiser reads what one advertiser is told (--advertiser), and nothing else; admin may do all of it.`,
		Example: "  mailbeacon key add mailer --role sender\n  mailbeacon key add acme --role advertiser --advertiser ACME",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(api.Roles, api.Role(role)) {
				return usage(fmt.Errorf("--role must say what the key is for, one of %s; it is %q", api.Roles, role))
			}
			if (api.Role(role) == api.RoleAdvertiser) != (advertiser != "") {
				return usagef("--advertiser names the one whose report a key of --role advertiser sees, and belongs to no other role")
			}
			key, err := addKey(c.dataDir(*data), args[0], api.Role(role), advertiser)
			if err != nil {
				return err
			}
			if *asJSON {
				made := map[string]string{"name": args[0], "role": role, "key": key}
				if advertiser != "" {
					made["advertiser"] = advertiser
				}
				return c.printJSON(made)
			}
			_, err = fmt.Fprintln(c.stdout, key)
			return err
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "what the key is for: "+api.Roles.String())
	cmd.Flags().StringVar(&advertiser, "advertiser", "", "whose report it sees, by the name that links have")
	return cmd
}

func addKey(dir, name string, role api.Role, advertiser string) (string, error) {
	if role == api.RoleAdvertiser {
		return api.AddAdvertiserKey(dir, name, advertiser, time.Now())
	}
	return api.AddKey(dir, name, role, time.Now())
}

func newKeyList(c *cli, data *string, asJSON *bool) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the keys that were added; the data folder's admin.key stands beside them",
		Example: "  mailbeacon key list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			keys, err := api.ListKeys(c.dataDir(*data))
			if err != nil {
				return err
			}
			if *asJSON {
				type shown struct {
					Name    string    `json:"name"`
					Role    api.Role  `json:"role"`
					Created time.Time `json:"created"`
					Whose   string    `json:"advertiser,omitempty"`
				}
				all := []shown{}
				for _, k := range keys {
					all = append(all, shown{k.Name, k.Role, k.Created, k.Advertiser})
				}
				return c.printJSON(all)
			}
			t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tROLE\tCREATED\tADVERTISER")
			for _, k := range keys {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.Name, k.Role, k.Created.Format("2006-01-02 15:04:05 MST"), report.Plain(k.Advertiser))
			}
			return t.Flush()
		},
	}
}

func newKeyRevoke(c *cli, data *string, asJSON *bool) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke NAME",
		Short:   "Take a key away",
		Long:    "Take a key away. A running server refuses it within a second or two.",
		Example: "  mailbeacon key revoke mailer",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := api.RevokeKey(c.dataDir(*data), args[0]); err != nil {
				return err
			}
			if *asJSON {
				return c.printJSON(map[string]any{"name": args[0], "revoked": true})
			}
			_, err := fmt.Fprintf(c.stdout, "key %s is revoked\n", args[0])
			return err
		},
	}
}
