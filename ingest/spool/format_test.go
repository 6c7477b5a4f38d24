package spool_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/spool/faultfs"
)

// The example in FORMAT.md is, byte for byte, what the code writes.
func TestFormatExample(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	files := exampleFolder(t)
	for _, name := range []string{spool.IdentityName, spool.SegmentName(0)} {
		_, section, found := strings.Cut(string(content), "### `"+name+"`\n")
		if !found {
			t.Fatalf("FORMAT.md shows no %s", name)
		}
		section, _, _ = strings.Cut(section, "\n#")
		shown := exampleBytes(t, section)
		written := files[name]
		if len(shown) == 0 || len(shown) > len(written) || !bytes.Equal(shown, written[:len(shown)]) {
			t.Errorf("%s is shown as\n%X\nand written as\n%X", name, shown, written[:min(256, len(written))])
			continue
		}
		rest := written[len(shown):]
		if len(bytes.Trim(rest, "\x00")) != 0 {
			t.Errorf("%s goes on with\n%X", name, bytes.TrimRight(rest, "\x00"))
		}
		if want := fmt.Sprintf("%d bytes of zeros follow", len(rest)); len(rest) > 0 && !strings.Contains(section, want) {
			t.Errorf("%s does not say that %s", name, want)
		}
	}
}

// exampleFolder is the content of a spool folder after two commits on the first of January 2000, when all clocks
// of synctest start.
func exampleFolder(t *testing.T) map[string][]byte {
	files := map[string][]byte{}
	synctest.Test(t, func(t *testing.T) {
		disk := faultfs.New(1)
		disk.Put(at(spool.IdentityName), spool.IdentityFile(0x1122334455667789, 1, 1))
		o := modelOptions(disk)
		o.AcceptLoss = true // an identity without a segment is one
		s, _ := open(t, o)
		synctest.Wait() // the segment is prepared
		now := time.Now().UnixMilli()
		click := event.Event{
			Time: now + 1500, Subject: 0xCAFE, Campaign: 7, Link: 2, Kind: event.Click, Client: event.Thunderbird, Signals: event.DataCentre,
		}
		refused := event.Event{Time: now, Campaign: 7, Kind: event.Open, Reason: event.OptedOut}
		for _, ev := range []event.Event{click, refused} {
			if err := s.Append(&ev); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{spool.IdentityName, spool.SegmentName(0)} {
			files[name] = disk.Bytes(at(name))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return files
}

var exampleLine = regexp.MustCompile(`(?m)^([0-9a-f]{4})  ((?:[0-9A-F]{2} )*[0-9A-F]{2})(?:  .*)?$`)

// exampleBytes puts the lines of a hex dump together; each starts with its offset.
func exampleBytes(t *testing.T, text string) []byte {
	t.Helper()
	var all []byte
	for _, line := range exampleLine.FindAllStringSubmatch(text, -1) {
		if offset, err := strconv.ParseInt(line[1], 16, 64); err != nil || int(offset) != len(all) {
			t.Fatalf("the line %q stands at offset %04x", line[0], len(all))
		}
		for digits := range strings.FieldsSeq(line[2]) {
			b, err := strconv.ParseUint(digits, 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, byte(b))
		}
	}
	return all
}
