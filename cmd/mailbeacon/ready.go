package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailbeacon/internal/client"
)

// readyPatience is how long a role may take to say whether it is ready; what it asks itself takes less.
const readyPatience = 5 * time.Second

func newReadyCommand(c *cli) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask what runs in a data folder whether it is ready",
		Long: `Ask what runs in a data folder, serve or a role of a cluster, whether it is ready, as /readyz of its private side
says. It needs no key. Exit code 1 where it is not, with the reasons: for health checks of containers and for
scripts.`,
		Example: "  mailbeacon ready --data /var/lib/mailbeacon",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), readyPatience)
			defer cancel()
			if err := askReady(ctx, c.dataDir(data)); err != nil {
				return err
			}
			_, err := fmt.Fprintln(c.stdout, "ready")
			return err
		},
	}
	dataFlag(cmd.Flags(), &data)
	return cmd
}

// askReady asks the process that left its address in a data folder. An error is why it is not ready.
func askReady(ctx context.Context, root string) error {
	addr, err := os.ReadFile(filepath.Join(root, client.AddrFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("nothing runs in data folder %s: there is no %s in it", root, client.AddrFile)
	}
	if err != nil {
		return err
	}
	cl, err := client.New(strings.TrimSpace(string(addr)), "")
	if err != nil {
		return fmt.Errorf("%s of data folder %s: %w", client.AddrFile, root, err)
	}
	defer cl.Close()
	ready, err := cl.Ready(ctx)
	if err != nil {
		return err
	}
	if !ready.Ready {
		return fmt.Errorf("not ready: %s", strings.Join(ready.Reasons, "; "))
	}
	return nil
}
