package spool_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"mailbeacon/ingest/spool"
)

func TestDump(t *testing.T) {
	t.Parallel()
	const total = perSegment + 10
	disk := filled(t, total)
	_, names := segments(t, disk)
	var out bytes.Buffer
	sum, err := spool.Dump(&out, disk, modelDir, spool.DumpOptions{})
	if err != nil || sum.Events != total || sum.Frames != total || sum.Segments != len(names) || sum.Damaged != 0 {
		t.Fatalf("%+v, %v\n%s", sum, err, out.String())
	}
	for _, want := range []string{"edge ", "segment " + names[0], "open counted campaign 7 link 0 subject 0000000000000003"} {
		if !strings.Contains(out.String(), want) {
			t.Fatalf("%q is not in\n%s", want, out.String())
		}
	}

	before := contents(t, disk)
	edit(disk, names[1], func(b []byte) []byte { b[spool.HeaderSize+2*perFrame+60] ^= 1; return b })
	edit(disk, names[0], func(b []byte) []byte { b[8] ^= 1; return b })
	spoiled := contents(t, disk)
	out.Reset()
	sum, err = spool.Dump(&out, disk, modelDir, spool.DumpOptions{JSON: true})
	if err != nil || sum.Damaged != 2 || sum.Events != total-1 {
		t.Fatalf("%+v, %v", sum, err)
	}
	counts := map[string]int{}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var line struct {
			Type    string `json:"type"`
			Segment string `json:"segment"`
			Offset  int64  `json:"offset"`
			Reason  string `json:"reason"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		counts[line.Type]++
		if line.Type == "damage" && line.Segment == names[1] && (line.Offset != spool.HeaderSize+2*perFrame || line.Reason == "") {
			t.Fatalf("damage is said to be at %+v", line)
		}
	}
	if counts["identity"] != 1 || counts["segment"] != len(names) || counts["event"] != total-1 || counts["damage"] != 2 {
		t.Fatalf("%v", counts)
	}
	if contents(t, disk) != spoiled || spoiled == before {
		t.Fatal("the dump wrote")
	}

	out.Reset()
	sum, err = spool.Dump(&out, disk, at(names[1]), spool.DumpOptions{Frames: true})
	if err != nil || sum.Segments != 1 || strings.Contains(out.String(), "campaign") {
		t.Fatalf("%+v, %v\n%s", sum, err, out.String())
	}
	if _, err := spool.Dump(&out, disk, at("0.seg"), spool.DumpOptions{}); err == nil {
		t.Fatal("dumped a segment that is not there")
	}
	if _, err := spool.Dump(&out, nil, "/no/such/folder", spool.DumpOptions{}); err == nil {
		t.Fatal("dumped a folder that is not there")
	}
}
