package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mailbeacon/internal/datadir"
	"mailbeacon/internal/token"
)

// keyringNote notes in the data folder which keyring its people's numbers are of, and how far that was rotated. It says nothing of the
// keys.
const keyringNote = "keyring.check"

// sameKeyring refuses a keyring that is not the one that a data folder was begun with, or an older copy of it: people would have
// other numbers, so that nobody's refusal would be known, or mail made since would be dead.
func sameKeyring(dir *datadir.Dir, ring *token.Ring, path string) error {
	k := ring.Keyring()
	fingerprint, newest := k.Fingerprint(), byte(0)
	for _, key := range k.Keys() {
		newest = max(newest, key.ID)
	}
	note := dir.Path(keyringNote)
	text, err := os.ReadFile(note)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("look which keyring the data folder is of: %w", err)
	default:
		var was string
		var known byte
		if _, err := fmt.Sscanf(string(text), "%16s %d\n", &was, &known); err != nil {
			return fmt.Errorf("%s can't be read; remove it if %s is the keyring that this folder was last started with", note, path)
		}
		if was != fingerprint {
			return fmt.Errorf("%s is not the keyring that this data folder was last started with: people would have other numbers, and nobody's refusal would be known. "+
				"Put that one back; or, to begin with this one all the same, remove %s", path, note)
		}
		if known > newest {
			return fmt.Errorf("%s ends with key %d, and this data folder has known key %d: it is a copy from before a rotation, and mail made since would be dead. "+
				"Put the newer one back; or, to go on without, remove %s", path, newest, known, note)
		}
	}
	// A start on a full disk does without.
	_, err = datadir.Hint(note, fmt.Appendf(nil, "%s %d\n", fingerprint, newest), 0o600)
	if err != nil {
		return fmt.Errorf("note which keyring the data folder is of: %w", err)
	}
	return nil
}
