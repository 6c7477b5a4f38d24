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
	// Partitions are how many a topic had when it was seen first, by its name. One that was made anew with another number has none.
	Partitions map[string]int `json:"partitions,omitempty"`
}

// Remember compares a topic's id with the one that it had when it was seen first, which the file at path
// tells and keeps. Another one is a *RecreatedError.
func Remember(path string, t Topic) error {
	was, err := Remembered(path, t.Name)
	switch {
	case err != nil:
		return err
	case was == t.ID:
		return nil
	case !was.IsZero():
		return &RecreatedError{Topic: t.Name, Was: was, Now: t.ID}
	}
	return RememberAnew(path, t)
}

// Remembered is the id that the file at path tells of a topic; zero if it tells none.
func Remembered(path, topic string) (TopicID, error) {
	_, known, err := openRemembered(path)
	if err != nil {
		return TopicID{}, err
	}
	was, ok := known.Topics[topic]
	if !ok {
		return TopicID{}, nil
	}
	return parseTopicID(was)
}

// RememberAnew has the file at path tell a topic's id, whatever it told before. It may be called while another process
// reads the file.
func RememberAnew(path string, t Topic) error {
	f, known, err := openRemembered(path)
	if err != nil {
		return err
	}
	if known.Topics == nil {
		known.Topics = map[string]string{}
	}
	if known.Partitions == nil {
		known.Partitions = map[string]int{}
	}
	if _, seen := known.Topics[t.Name]; !seen {
		known.Partitions[t.Name] = t.Partitions
	} else if known.Partitions[t.Name] != t.Partitions {
		delete(known.Partitions, t.Name)
	}
	known.Topics[t.Name] = t.ID.String()
	b, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return fmt.Errorf("kafka: the topics' ids: %w", err)
	}
	if err := f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("kafka: the topics' ids: %w", err)
	}
	return nil
}

// Grown says whether a topic may have had fewer partitions since the file at path tells of it: where it tells another number, or, as of an
// older version, none.
func Grown(path string, t Topic) (bool, error) {
	_, known, err := openRemembered(path)
	if err != nil {
		return false, err
	}
	_, seen := known.Topics[t.Name]
	return seen && known.Partitions[t.Name] != t.Partitions, nil
}

func openRemembered(path string) (*slotfile.File, remembered, error) {
	known := remembered{Version: 1}
	f, err := slotfile.Open(path)
	if err != nil {
		return nil, known, fmt.Errorf("kafka: the topics' ids: %w", err)
	}
	b, err := f.Content()
	switch {
	case errors.Is(err, slotfile.ErrDamaged):
		return nil, known, fmt.Errorf("kafka: the topics' ids: %w: remove it if the topics are the ones that they were", err)
	case err != nil:
		return nil, known, fmt.Errorf("kafka: the topics' ids: %w", err)
	case len(b) == 0:
		return f, known, nil
	}
	if err := json.Unmarshal(b, &known); err != nil || known.Version != 1 {
		return nil, known, fmt.Errorf("kafka: %s can't be read (version %d): remove it if the topics are the ones that they were: %w", path, known.Version, errors.Join(err, errUnreadable))
	}
	return f, known, nil
}

var errUnreadable = errors.New("no list of topics")
