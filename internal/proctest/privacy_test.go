package proctest

import (
	"bytes"
	"context"
	little "encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
	"mailbeacon/internal/token"
)

// TestNothingOfPeopleIsLeft does everything once, with a kill between, and looks through every file, the log, the
// metrics and what was answered for the addresses, the machines and the programs that it came from.
func TestNothingOfPeopleIsLeft(t *testing.T) {
	ctx, data, h := t.Context(), t.TempDir(), peoplesHunt()
	args := append(slices.Clone(quick), "--trusted-proxies=127.0.0.0/8", "--log-level=debug")
	var left contents
	for round := range 2 {
		s := start(t, data, args...)
		left.add("metrics at the start", s.scrape())
		o, v := &operator{t: t, s: s, client: s.client()}, &visitor{t, s.public}
		campaign := fmt.Sprintf("spring-%d", round)
		if round > 0 { // who left and who refused in the round before is measured again
			agreeAgain(ctx, t, o.client)
		}
		reader, leaver := o.prepares(ctx, campaign, "Spring")
		v.reads(&reader, everybody.reads)
		v.errs()
		s.drain()
		v.decides(&reader, &leaver)
		v.reads(&reader, everybody.reads)
		o.works(ctx, campaign, "2026-11")
		left.add("metrics", s.scrape())
		left.add("answers", o.said.String())
		if round == 0 {
			s.kill()
			left.addFolder(t, data)
		} else {
			s.drain()
			left.addFolder(t, data) // a database's log holds what its file does not yet
			s.stop()
		}
		left.add("log", s.out.String())
		if !strings.Contains(s.out.String(), "msg=request") {
			t.Error("the log at level debug says nothing of requests: this test looks in the wrong place")
		}
	}
	left.addFolder(t, data)
	left.mustNotHold(t, h)
	if len(left) < 30 {
		t.Errorf("only %d contents were looked at", len(left))
	}
	must(t, os.WriteFile(filepath.Join(data, "spool", "planted"), []byte("x"+strings.ToUpper(everybody.reads)), 0o600))
	var planted contents
	planted.addFolder(t, data)
	if len(planted.search(h)) != 1 {
		t.Errorf("what was planted in the folder is found %d times", len(planted.search(h)))
	}
}

// agreeAgain grants what the people of a round before refused.
func agreeAgain(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	for _, who := range []string{everybody.reads, everybody.leaves} {
		_, err := c.SetConsent(ctx, api.Decision{Subject: who, Opens: "granted", Clicks: "granted", Unsubscribed: new(bool), Source: "letter"})
		must(t, err)
	}
}

// content is what was found somewhere.
type content struct {
	where string
	b     []byte
}

type contents []content

func (c *contents) add(where, text string) { *c = append(*c, content{where, []byte(text)}) }

// addFolder adds every file below a folder, its name, too. What goes away meanwhile was looked at before, or will be
// where it is now.
func (c *contents) addFolder(t *testing.T, root string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() { // a link leads to where it is
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		name, _ := filepath.Rel(root, path) // it is below
		c.add(filepath.Join(filepath.Base(root), name), name+"\n"+string(bytes.TrimRight(b, "\x00")))
		return err
	})
	must(t, err)
	if files < 5 {
		t.Errorf("%s has only %d files", root, files)
	}
}

// search tells what is found where.
func (c contents) search(h *hunt) (found []string) {
	for i := range c {
		for _, what := range h.search(c[i].b) {
			found = append(found, c[i].where+" holds "+what)
		}
	}
	return found
}

func (c contents) mustNotHold(t *testing.T, h *hunt) {
	t.Helper()
	for _, f := range c.search(h) {
		t.Error(f)
	}
}

// TestCountedEventsLeaveTheSpool looks for a person's number in the spool: it goes with a stop once it
// is counted, and what a kill leaves of it goes with the next start.
func TestCountedEventsLeaveTheSpool(t *testing.T) {
	ctx, data := t.Context(), t.TempDir()
	s := start(t, data, quick...)
	l := newLanes(ctx, t, s.client(), "spring", 1)[0]
	ring, err := token.LoadKeyring(filepath.Join(data, "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	number := little.LittleEndian.AppendUint64(nil, ring.Subject([]byte(reader)))
	inSpool := func() (names []string) {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(data, "spool", "*"))
		if err != nil || len(all) < 2 {
			t.Fatalf("the spool has the files %v, %v", all, err)
		}
		for _, name := range all {
			b, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // trimmed meanwhile
			}
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, number) {
				names = append(names, filepath.Base(name))
			}
		}
		return names
	}

	ask(t, s, l, 30)
	s.drain()
	if len(inSpool()) == 0 {
		t.Fatal("this test looks for the wrong number")
	}
	s.stop()
	if left := inSpool(); len(left) > 0 {
		t.Errorf("counted events are left in %v after a stop", left)
	}
	if out, stderr, code := mailbeacon(ctx, t, "", "doctor", "--data", data); code != 0 || !strings.Contains(out, "0 events, no damage") {
		t.Errorf("the doctor's exit code is %d:\n%s%s", code, out, stderr)
	}

	s = start(t, data, quick...)
	ask(t, s, l, 30)
	s.drain()
	s.kill()
	if len(inSpool()) == 0 {
		t.Fatal("a kill left nothing")
	}
	s = start(t, data, quick...)
	for deadline := time.Now().Add(patience); len(inSpool()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("what was counted before the kill is still in %v", inSpool())
		}
	}
	ask(t, s, l, 30)
	s.drain()
	l.check(ctx, t, s.client())
	s.stop()
}
