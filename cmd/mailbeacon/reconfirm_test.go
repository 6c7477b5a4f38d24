package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/sqlite"
	"mailbeacon/internal/token"
)

// stopped opens the keys and the counts in a stopped server's folder; what is returned last closes them, before it starts again.
func (b *shell) stopped() (*token.Ring, *sqlite.Counts, func()) {
	b.t.Helper()
	ring, err := token.OpenRing(filepath.Join(b.data, keyringFile))
	if err != nil {
		b.t.Fatal(err)
	}
	store, err := sqlite.OpenCounts(context.Background(), filepath.Join(b.data, countsFile))
	if err != nil {
		b.t.Fatal(err)
	}
	return ring, store, func() {
		if err := store.Close(); err != nil {
			b.t.Error(err)
		}
	}
}

// silent notes in a stopped server's folder when people were active last, in days before today.
func (b *shell) silent(days map[string]int) {
	b.t.Helper()
	ring, store, closed := b.stopped()
	defer closed()
	c := &aggregate.Commit{Partition: 9, After: aggregate.Progress{Offset: 1}}
	for address, ago := range days {
		c.LastActive = append(c.LastActive, aggregate.LastActive{Subject: ring.Subject([]byte(address)), Day: uint32(time.Now().Unix()/86400) - uint32(ago)})
	}
	if err := store.Commit(context.Background(), c); err != nil {
		b.t.Fatal(err)
	}
}

func TestReconfirmCommand(t *testing.T) {
	b := &shell{t, filepath.Join(t.TempDir(), "data")}
	b.boot()()
	b.silent(map[string]int{"ann@example.com": 300, "bob@example.com": 300, "cid@example.com": 3})
	t.Cleanup(b.boot())
	if _, errs, code := b.run("", "consent", "set", "bob@example.com", "--opens", "refused"); code != 0 {
		t.Fatal(errs)
	}
	date := time.Now().UTC().AddDate(0, 0, -300).Format(time.DateOnly)
	file := filepath.Join(t.TempDir(), "members.csv")
	rows := "name,Email\n\"Ann, née B\", ANN@example.com \nBob,bob@example.com\nCid,cid@example.com\nDan,dan@example.com\n"
	if err := os.WriteFile(file, []byte("\ufeff"+rows), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.json")
	if _, err := token.CreateKeyring(other); err != nil {
		t.Fatal(err)
	}
	ann := "\"Ann, née B\",\" ANN@example.com \"," + date + "\n"
	const none = "nothing"
	for _, c := range []struct {
		args  string
		stdin string
		code  int
		out   string // the whole, where code is not 2
		errs  string
	}{
		{"--inactive 180d --addresses " + file, "", 0, "name,Email,last_active\n" + ann, ""},
		{"--inactive 180d --addresses -", rows, 0, "name,Email,last_active\n" + ann, ""},
		{"--inactive 301d --addresses " + file, "", 0, "name,Email,last_active\n", ""},
		{"--inactive 180d --never --addresses " + file, "", 0, "name,Email,last_active\n" + ann + "Dan,dan@example.com,\n", ""},
		{"--inactive 180d --never --addresses - --column who", "who\nnobody\nann@example.com\nx,y\ndan@example.com\n", 1, "who,last_active\nann@example.com," + date + "\ndan@example.com,\n", "line 2: "},
		{"--inactive 180d --addresses - --column who", rows, 2, "", "no column who"},
		{"--inactive 180d --addresses -", "", 2, "", "no line of names"},
		{"--inactive 180d --addresses /nowhere.csv", "", 2, "", "/nowhere.csv"},
		{"--inactive 180d --addresses - --keyring " + other, rows, 1, none, "another keyring"},
		{"--inactive 180d --addresses - --keyring /nowhere.json", rows, 2, "", "/nowhere.json"},
		{"--inactive 180d --never", "", 2, "", "--addresses"},
		{"--inactive 6months", "", 2, "", "180d"},
		{"", "", 2, "", "needs --inactive"},
	} {
		out, errs, code := b.run(c.stdin, append([]string{"reconfirm"}, strings.Fields(c.args)...)...)
		if code != c.code || c.out != "" && out != strings.TrimPrefix(c.out, none) || !strings.Contains(errs, c.errs) || strings.Contains(errs, "nobody") {
			t.Errorf("%s: code %d\n%s\n%s", c.args, code, out, errs)
		}
	}
	out, errs, code := b.run("", "reconfirm", "--inactive", "180d", "--json")
	if code != 0 || !strings.HasPrefix(out, `{"subject":"`) || !strings.HasSuffix(out, `","last_active":"`+date+"\"}\n") || strings.Count(out, "\n") != 1 {
		t.Errorf("%d %s %s", code, out, errs)
	}
	out, errs, code = b.run(rows, "reconfirm", "--inactive", "180d", "--addresses", "-", "--json")
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, `"address":" ANN@example.com "`) {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

// More people than any buffer on the way holds.
func TestReconfirmOfMany(t *testing.T) {
	b := &shell{t, filepath.Join(t.TempDir(), "data")}
	b.boot()()
	const people = 100_000
	days, rows := map[string]int{}, &strings.Builder{}
	rows.WriteString("email\n")
	for i := range people {
		address := fmt.Sprintf("p%d@example.com", i)
		fmt.Fprintln(rows, address)
		if i%1000 == 0 {
			days[address] = 400
		}
	}
	b.silent(days)
	t.Cleanup(b.boot())
	out, errs, code := b.run(rows.String(), "reconfirm", "--inactive", "365d", "--addresses", "-")
	if code != 0 || strings.Count(out, "\n") != 1+len(days) || !strings.Contains(out, "\np99000@example.com,") {
		t.Errorf("code %d, %d lines, %s", code, strings.Count(out, "\n"), errs)
	}
	out, errs, code = b.run(rows.String(), "reconfirm", "--inactive", "365d", "--addresses", "-", "--never")
	if code != 0 || strings.Count(out, "\n") != 1+people {
		t.Errorf("code %d, %d lines, %s", code, strings.Count(out, "\n"), errs)
	}
}
