package kafka

import (
	"encoding/json"
	"errors"
	"fmt"

	"mailbeacon/internal/slotfile"
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
	f, err := slotfile.Open(path)
	if err != nil {
		return fmt.Errorf("kafka: the topics' ids: %w", err)
	}
	b, err := f.Content()
	switch {
	case errors.Is(err, slotfile.ErrDamaged):
		return fmt.Errorf("kafka: the topics' ids: %w: remove it if the topics are the ones that they were", err)
	case err != nil:
		return fmt.Errorf("kafka: the topics' ids: %w", err)
	case len(b) > 0:
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
	if err := f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("kafka: the topics' ids: %w", err)
	}
	return nil
}

var errUnreadable = errors.New("no list of topics")
