package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/kafka"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/sqlite"
	"mailbeacon/internal/config"
	"mailbeacon/internal/datadir"
)

// knowsSpool says whether counts once stood beside a whole spool: they have counted from it, or
// noteSpool left its mark. A spool that is missing then was lost, with events that were answered.
func knowsSpool(p aggregate.Progress) bool { return p.Offset > 0 || len(p.Edges) > 0 }

// noteSpool writes into the counts that there is a spool, before the first event is answered.
func noteSpool(ctx context.Context, counts *sqlite.Counts, s *spool.Spool) error {
	edge, epoch := s.Identity()
	err := counts.Commit(ctx, &aggregate.Commit{After: aggregate.Progress{Edges: []aggregate.EdgeMark{{Edge: edge, Epoch: epoch}}}})
	if err != nil {
		return fmt.Errorf("note that there is a spool: %w", err)
	}
	return nil
}

// adviseLost adds to the loss of a spool what can be done about it.
func adviseLost(err error, data string) error {
	if !errors.Is(err, spool.ErrLost) {
		return err
	}
	return fmt.Errorf("data folder %s: %w; put the folder %s back, or give them up with `mailbeacon spool accept-loss --data %s`",
		data, err, spoolFolder, shellWord(data))
}

func newAcceptLossCommand(c *cli) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "accept-loss",
		Short: "Give up what was in a spool that is gone, so that the server starts again",
		Long: `Begin an empty spool in a data folder whose spool folder, or all of its segments, are gone. Events that
were answered and not counted yet were in them: a server does not start without them until somebody
says so here. What is counted stays. It does nothing where nothing is lost.`,
		Example: "  mailbeacon spool accept-loss --data /var/lib/mailbeacon",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return acceptLoss(cmd.Context(), c, c.dataDir(data))
		},
	}
	dataFlag(cmd.Flags(), &data)
	return cmd
}

func acceptLoss(ctx context.Context, c *cli, root string) (err error) {
	look, err := datadir.Inspect(root)
	if err != nil {
		return err // opening would make a new one
	}
	look.Close() // for the lock that changes are made under
	dir, err := datadir.Open(root)
	if err != nil {
		return err
	}
	defer closing(&err, dir.Close)
	role, err := roleOf(root)
	if err != nil {
		return err
	}
	if role == config.Edge {
		next := kafka.Shipped(dir.Path(cursorFile))
		return acceptLostSpool(c, dir.Path(spoolFolder), next, next > 0)
	}
	if err := wholeFolder(dir); err != nil {
		return err
	}
	if _, err := os.Lstat(dir.Path(countsFile)); err != nil {
		return fmt.Errorf("data folder %s was never started: %w", root, err)
	}
	counts, err := sqlite.OpenCounts(ctx, dir.Path(countsFile))
	if err != nil {
		return err
	}
	defer closing(&err, counts.Close)
	progress, err := counts.Progress(ctx, 0)
	if err != nil {
		return err
	}
	return acceptLostSpool(c, dir.Path(spoolFolder), progress.Offset, knowsSpool(progress))
}

// acceptLostSpool begins a spool anew at a number, if it is lost; known says that there was one.
func acceptLostSpool(c *cli, path string, next uint64, known bool) error {
	if err := spool.CheckLost(nil, path, known); err == nil {
		return fmt.Errorf("nothing is lost: %s has its segments", path)
	} else if !errors.Is(err, spool.ErrLost) {
		return err
	}
	s, _, err := spool.Open(spool.Options{Dir: path, Next: next, Known: true, AcceptLoss: true})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s begins anew with event %d; what was in it and not counted is given up\n", path, next)
	return err
}
