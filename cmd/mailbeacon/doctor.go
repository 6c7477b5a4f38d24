package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mailbeacon/ingest/kafka"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/sqlite"
	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
	"mailbeacon/internal/config"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/token"
	"mailbeacon/internal/web"
)

// finding is what one check found.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Says  string `json:"says"`
}

func newDoctorCommand(c *cli) *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a data folder, and the server that runs in it",
		Long: `Check a data folder: its version, keys and who may read them, the write-ahead log, free space, the
databases from end to end (while no server runs there) and the server itself (while one does). It
changes nothing, and no server can start in the folder meanwhile. Exit code 1 where something is wrong.`,
		Example: "  mailbeacon doctor\n  mailbeacon doctor --data /var/lib/mailbeacon --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := examine(cmd.Context(), c.dataDir(data))
			if err := c.printFindings(found, asJSON); err != nil {
				return err
			}
			bad := 0
			for _, f := range found {
				if !f.OK {
					bad++
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d of %d checks found something wrong", bad, len(found))
			}
			return nil
		},
	}
	dataFlag(cmd.Flags(), &data)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *cli) printFindings(found []finding, asJSON bool) error {
	if asJSON {
		return c.printJSON(found)
	}
	for _, f := range found {
		mark := "ok   "
		if !f.OK {
			mark = "WRONG"
		}
		if _, err := fmt.Fprintf(c.stdout, "%s  %-10s %s\n", mark, f.Check, f.Says); err != nil {
			return err
		}
	}
	return nil
}

// examine makes every check that makes sense.
func examine(ctx context.Context, root string) []finding {
	var found []finding
	note := func(check, says string, err error) {
		if err != nil {
			says = err.Error()
		}
		found = append(found, finding{check, err == nil, says})
	}
	look, err := datadir.Inspect(root)
	if err != nil {
		note("folder", "", err)
		return found // whatever the rest says would be about something else
	}
	defer func() { _ = look.Close() }() // nothing was written
	state := "not in use"
	if look.InUse {
		state = "a server runs in it, so its databases are not examined"
	}
	note("folder", fmt.Sprintf("%s, version %d, %s", root, datadir.Version, state), nil)
	role, err := roleOf(root)
	if err != nil {
		note("role", "", err)
		return found
	}
	alone := role == config.Serve
	if alone { // the roles of a cluster share one that is elsewhere
		says, err := examineKeyring(filepath.Join(root, keyringFile))
		note("keyring", says, err)
	} else {
		note("role", "mailbeacon "+string(role), nil)
	}
	if alone || role == config.Admin {
		_, err = api.ReadAdminKey(root)
		note("admin key", api.AdminKeyFile+" is there, for its owner only", err)
	}
	if alone || role == config.Admin {
		note("dashboard", "sessions and audit log are for their owner only", errors.Join(web.Examine(root), audit.Examine(root)))
	}
	says, err := examineSpace(root)
	note("space", says, err)
	known := look.InUse || role == config.Edge && kafka.Shipped(filepath.Join(root, cursorFile)) > 0
	if alone && !look.InUse {
		note("control", controlFile+" is whole", sqlite.ExamineControl(ctx, filepath.Join(root, controlFile)))
		progress, err := sqlite.ExamineCounts(ctx, filepath.Join(root, countsFile))
		note("counts", countsFile+" is whole", err)
		known = knowsSpool(progress)
	}
	if alone || role == config.Edge {
		says, err = examineSpool(root, known)
		note("spool", says, err)
	}
	if look.InUse {
		says, err = examineServer(ctx, root)
		note("server", says, err)
	}
	return found
}

// roleOf is whose data folder this is.
func roleOf(root string) (config.Role, error) {
	b, err := os.ReadFile(filepath.Join(root, roleFile))
	switch role := config.Role(strings.TrimSpace(string(b))); {
	case errors.Is(err, fs.ErrNotExist):
		return config.Serve, nil
	case err != nil:
		return "", err
	case role == config.Edge || role == config.Consume || role == config.Admin:
		return role, nil
	default:
		return "", fmt.Errorf("the file %s names %q, which this mailbeacon does not know", roleFile, role)
	}
}

func examineKeyring(path string) (string, error) {
	ring, err := token.LoadKeyring(path)
	if err != nil {
		return "", err
	}
	count := map[token.KeyState]int{}
	for _, k := range ring.Keys() {
		count[k.State]++
	}
	return fmt.Sprintf("%d active, %d live, %d retired", count[token.Active], count[token.Live], count[token.Retired]), nil
}

// examineSpool looks at the spool; known is whether there must be one.
func examineSpool(root string, known bool) (string, error) {
	path := filepath.Join(root, spoolFolder)
	if err := spool.CheckLost(nil, path, known); err != nil {
		return "", adviseLost(err, root)
	}
	sum, err := spool.Dump(io.Discard, nil, path, spool.DumpOptions{Frames: true})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none yet", nil
	case err != nil:
		return "", err
	case sum.Damaged > 0:
		return "", fmt.Errorf("%d damaged places in %d segments; `mailbeacon spool dump %s` shows them", sum.Damaged, sum.Segments, path)
	}
	return fmt.Sprintf("%d segments, %d events, no damage", sum.Segments, sum.Events), nil
}

// leastFree is the free space below which the log may soon have no room: a segment is prepared ahead
// of the one that is written, and the databases write their logs besides.
const leastFree = 256 << 20

func examineSpace(root string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return "", fmt.Errorf("ask for free space: %w", err)
	}
	free := st.Bavail * uint64(st.Bsize) //nolint:gosec // a block has no negative size
	if free < leastFree {
		return "", fmt.Errorf("%d MiB free: a full disk loses events", free>>20)
	}
	return fmt.Sprintf("%d MiB free", free>>20), nil
}

func examineServer(ctx context.Context, root string) (string, error) {
	return "ready", askReady(ctx, root)
}
