package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestGivenUp: what a new stream gives up is told of each partition, also where two of them lost something in two ways.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	short := partitionLook{Partition: 0, Counted: 90, Start: 10, End: 50, Problem: cutShort}
	late := partitionLook{Partition: 1, Counted: 20, Start: 30, End: 50, Lost: 10, Problem: overtaken}
	whole := partitionLook{Partition: 2, Counted: 40, Start: 30, End: 50}
	ended := partitionLook{Partition: 3, Counted: -1, Start: 30, End: 50, Problem: hasEnded}
	for name, c := range map[string]struct {
		look topicLook
		want []string
	}{
		"the same topic": {topicLook{Standing: standsCounted, Partitions: []partitionLook{short, late, whole, ended}}, []string{
			"partition 0: it was counted up to offset 90, and ends at 50",
			"partition 1: 10 records are given up, from offset 20 to 29",
		}},
		"made anew": {topicLook{Standing: standsAnew, Partitions: []partitionLook{whole, ended}}, []string{
			"partition 2: the old one was counted up to offset 40; what it held from there on is given up",
		}},
	} {
		if got := c.look.givenUp(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestSuccessionAsksForAllThatIsLost: whoever says yes to a topic that was cut short is told of what another partition lost.
func TestSuccessionAsksForAllThatIsLost(t *testing.T) {
	t.Parallel()
	var asked bytes.Buffer
	a := &acceptance{cli: &cli{stdin: strings.NewReader("\n"), stdout: &asked, stderr: &asked}}
	l := &topicLook{Topic: "events", Standing: standsCounted, Partitions: []partitionLook{
		{Counted: 90, End: 50, Problem: cutShort}, {Partition: 1, Counted: 20, Start: 30, End: 50, Lost: 10, Problem: overtaken},
	}}
	if err := a.succeed(t.Context(), l, nil, nil, nil); err == nil { // not confirmed: nothing is asked of the store
		t.Fatal("it went on unconfirmed")
	}
	if !strings.Contains(asked.String(), "10 records") {
		t.Errorf("it asked %q", &asked)
	}
}
