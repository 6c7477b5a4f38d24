package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mailbeacon/internal/datadir"
)

// endedFile holds the sessions that were ended before their time, so that a restart wakes none of them.
const endedFile = "sessions.ended"

// ended are sessions that were signed out, until they would be over anyway: their cookies may live on somewhere. It may be used
// concurrently.
type ended struct {
	path string
	log  *slog.Logger
	now  func() time.Time

	mu  sync.Mutex
	ids map[string]int64 // until when, in Unix seconds
}

func openEnded(dir string, now func() time.Time, log *slog.Logger) (*ended, error) {
	e := &ended{path: filepath.Join(dir, endedFile), log: log, now: now}
	var err error
	e.ids, err = readEnded(e.path)
	return e, err
}

func readEnded(path string) (map[string]int64, error) {
	ids := map[string]int64{}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ids, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ended sessions: %w", err)
	}
	if err := json.Unmarshal(b, &ids); err != nil || ids == nil {
		return nil, fmt.Errorf("%s is damaged; remove it and %s, so that no session that was ended holds again", path, KeyFile)
	}
	return ids, nil
}

func (e *ended) has(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.ids[id]
	return ok
}

// add ends a session. Where the disk takes it not, it is ended until this process is.
func (e *ended) add(id string, until int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now().Unix()
	for old, expires := range e.ids {
		if expires <= now {
			delete(e.ids, old)
		}
	}
	e.ids[id] = until
	b, err := json.Marshal(e.ids)
	if err == nil {
		err = datadir.WriteFile(e.path, b, 0o600)
	}
	if err != nil {
		e.log.Error("an ended session could not be noted: a restart would let it go on", "error", err)
	}
}
