package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"mailbeacon/internal/config"
	"mailbeacon/internal/datadir"
)

// What a data folder holds, in the order in which a first start makes it.
const (
	keyringFile  = "keyring.json"
	controlFile  = "control.db"
	countsFile   = "counts.db"
	spoolFolder  = "spool"
	snapshotFile = "control.snapshot" // rebuilt from the control log where it is missing
)

// made is that order, and what would be gone with each.
var made = []struct{ name, gone string }{
	{keyringFile, "without the keys that it was made with, sent mail and refusals can't be recognised"},
	{controlFile, "it holds the campaigns, and who refused"},
	{countsFile, "it holds everything that was counted; to count from nothing, move the folder " + spoolFolder + " away too"},
	{spoolFolder, ""}, // whether it was there before, the counts know: see lost.go
}

// wholeFolder refuses a folder that has lost a part of itself: a new and empty one in its place
// would look as if nothing was lost. A first start that was cut short leaves a beginning of the
// list, and what is missing at its end may be made.
func wholeFolder(dir *datadir.Dir) error {
	role, err := roleOf(dir.Root())
	if err != nil {
		return fmt.Errorf("data folder %s: %w", dir.Root(), err)
	}
	if role != config.Serve {
		return fmt.Errorf("data folder %s belongs to mailbeacon %s; each role needs one of its own (--data)", dir.Root(), role)
	}
	var missing []string
	why := ""
	for _, m := range made {
		_, err := os.Lstat(dir.Path(m.name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, m.name)
			if why == "" {
				why = m.gone
			}
		case err != nil:
			return fmt.Errorf("look through the data folder: %w", err)
		case len(missing) > 0:
			return fmt.Errorf("data folder %s: %s is missing, but %s is there: %s; put it back from your backup", dir.Root(), strings.Join(missing, " and "), m.name, why)
		}
	}
	return nil
}
