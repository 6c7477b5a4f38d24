package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mailbeacon/internal/datadir"
)

// remembered is the file of topics' ids.
type remembered struct {
	Version int               `json:"version"`
	Topics  map[string]string `json:"topics"` // id by name
}

// Remember compares a topic's id with the one that it had when it was seen first, which the file at path
// tells and keeps. Another one is a *RecreatedError.
func Remember(path string, t Topic) error {
	known := remembered{Version: 1, Topics: map[string]string{}}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("kafka: the topics' ids: %w", err)
	default:
		if err := json.Unmarshal(b, &known); err != nil || known.Version != 1 {
			return fmt.Errorf("kafka: %s can't be read (version %d): remove it if the topics are the ones that they were: %w", path, known.Version, errors.Join(err, errUnreadable))
		}
	}
	if was, ok := known.Topics[t.Name]; ok {
		if was == t.ID.String() {
			return nil
		}
		id, err := parseTopicID(was)
		return errors.Join(err, &RecreatedError{Topic: t.Name, Was: id, Now: t.ID})
	}
	if known.Topics == nil {
		known.Topics = map[string]string{}
	}
	known.Topics[t.Name] = t.ID.String()
	b, err = json.MarshalIndent(known, "", "  ")
	if err != nil {
		return fmt.Errorf("kafka: the topics' ids: %w", err)
	}
	if err := datadir.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("kafka: the topics' ids: %w", err)
	}
	return nil
}

var errUnreadable = errors.New("no list of topics")
