package proctest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Bounds of the long form, which MAILBEACON_IMPORT=ROWS asks for.
const (
	importRate   = 200_000 // rows a second
	importStart  = 2 * time.Second
	importSample = 200_000 // rows, where no long form is asked for
)

// importBad are rows that can't be used, by their line.
var importBad = map[int]string{
	2:       "not-an-address,refused,refused,letter,1",
	50_000:  "somebody@example.com,maybe,refused,letter,1",
	100_001: `"broken@example.com,refused,refused,letter,1`,
}

// importFile writes a file of so many good rows, and bad ones between.
func importFile(t *testing.T, rows int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "refusals.csv")
	f, err := os.Create(name)
	must(t, err)
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintln(w, "subject,opens,clicks,source,text_version")
	for line, n := 2, 0; n < rows; line++ {
		if bad, ok := importBad[line]; ok {
			fmt.Fprintln(w, bad)
			continue
		}
		fmt.Fprintf(w, "firstname.lastname.%08d@mail.example.com,refused,refused,newsletter,2026-11\n", n)
		n++
	}
	must(t, w.Flush())
	must(t, f.Close())
	return name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func importRows(t *testing.T) (rows int, long bool) {
	t.Helper()
	v := os.Getenv("MAILBEACON_IMPORT")
	if v == "" {
		return importSample, false
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < importSample {
		t.Fatalf("MAILBEACON_IMPORT is %q, not a number from %d", v, importSample)
	}
	return n, true
}

// imported runs an import to its end, or until it is killed.
type imported struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

func importing(t *testing.T, path, data, file string) *imported {
	t.Helper()
	im := &imported{cmd: exec.Command(path, "consent", "import", file, "--data", data)}
	im.cmd.Env = environ()
	im.cmd.Stdout, im.cmd.Stderr = &im.stdout, &im.stderr
	must(t, im.cmd.Start())
	t.Cleanup(func() { _ = im.cmd.Process.Kill() })
	return im
}

// recordedBy waits until the control log has so many records.
func recordedBy(t *testing.T, s *server, records float64) {
	t.Helper()
	for deadline := time.Now().Add(patience); s.metric("mailbeacon_control_applied") < records; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the import records nothing")
		}
	}
}

// TestImport imports a file, with a kill -9 of the command, and then of the server, on the way. In the end
// everybody is refused, and nobody stands in the ledger twice.
func TestImport(t *testing.T) {
	rows, _ := importRows(t)
	path, data, file := binary(t), t.TempDir(), importFile(t, rows)
	pieces := float64(rows / 8192)
	s := start(t, data, quick...)
	first := importing(t, path, data, file)
	recordedBy(t, s, pieces/4)
	must(t, first.cmd.Process.Kill())
	if err := first.cmd.Wait(); err == nil {
		t.Log("the import was over before the kill")
	}
	second := importing(t, path, data, file)
	recordedBy(t, s, pieces/2)
	s.kill()
	if err := second.cmd.Wait(); err == nil {
		t.Log("the import was over before the kill of the server")
	} else if !strings.Contains(second.stderr.String(), "goes on from there") && !strings.Contains(second.stderr.String(), "no answer") {
		t.Errorf("a killed server: %v\n%s", err, &second.stderr)
	}
	s = start(t, data, quick...)
	last := importing(t, path, data, file)
	if err := last.cmd.Wait(); err == nil || last.cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("%v\n%s%s", err, &last.stdout, &last.stderr)
	}
	t.Logf("the third import: %s", strings.TrimSpace(last.stdout.String()))
	if !strings.Contains(last.stdout.String(), "recorded already") || !strings.Contains(last.stdout.String(), "3 lines can't be used") {
		t.Errorf("it said: %s", &last.stdout)
	}
	for line := range importBad {
		if !strings.Contains(last.stderr.String(), fmt.Sprintf("line %d: ", line)) {
			t.Errorf("nothing of line %d:\n%s", line, &last.stderr)
		}
	}
	if all := last.stderr.String() + s.out.String(); strings.Contains(all, "example.com") || strings.Contains(all, "not-an-address") {
		t.Errorf("an address was told:\n%s", all)
	}
	checkLedger(t, s, rows)
}

// checkLedger reads the whole feed, in pieces.
func checkLedger(t *testing.T, s *server, rows int) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(s.data, "admin.key"))
	must(t, err)
	addr, err := os.ReadFile(filepath.Join(s.data, "admin.addr"))
	must(t, err)
	seen := make(map[string]bool, rows)
	for after := "0"; ; {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			strings.TrimSpace(string(addr))+"/v1/consent/changes?limit=30000&after="+after, nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		lines, n := bufio.NewScanner(resp.Body), 0
		for ; lines.Scan(); n++ {
			var c struct {
				Subject, Opens, Clicks, By string
				More                       bool
			}
			must(t, json.Unmarshal(lines.Bytes(), &c))
			if seen[c.Subject] || c.Opens != "refused" || c.Clicks != "refused" || c.By != "key:(admin.key)" {
				t.Fatalf("twice, or wrong: %s", lines.Text())
			}
			seen[c.Subject] = true
		}
		must(t, lines.Err())
		resp.Body.Close()
		if after = resp.Trailer.Get("Mailbeacon-Next"); n == 0 {
			break
		}
		if n > 30000+8192 {
			t.Errorf("%d lines, asked for some 30000", n)
		}
	}
	if len(seen) != rows {
		t.Errorf("%d people in the ledger, want %d", len(seen), rows)
	}
}

// TestImportRate measures an import against a running server, the same file again, a lookup, and the start
// with all of that. The long form holds it to its bounds; the short one only looks that it works.
func TestImportRate(t *testing.T) {
	rows, long := importRows(t)
	path, data, file := built(t, plainBinary), t.TempDir(), importFile(t, rows)
	s := launch(t, path, data, quick...)
	s.ready()
	for _, again := range []bool{false, true} {
		began := time.Now()
		im := importing(t, path, data, file)
		if err := im.cmd.Wait(); err == nil || im.cmd.ProcessState.ExitCode() != 1 {
			t.Fatalf("%v\n%s%s", err, &im.stdout, &im.stderr)
		}
		took := time.Since(began)
		rate := float64(rows) / took.Seconds()
		t.Logf("%d rows in %v, %.0f rows/s; again %v: %s", rows, took.Round(time.Millisecond), rate, again, strings.TrimSpace(im.stdout.String()))
		if long && rate < importRate {
			t.Errorf("%.0f rows/s, want %d", rate, importRate)
		}
	}
	began := time.Now()
	p, err := s.client().Consent(t.Context(), "firstname.lastname.00000007@mail.example.com")
	if must(t, err); len(p.History) != 1 || p.Opens != "refused" {
		t.Errorf("%+v", p)
	}
	t.Logf("a lookup in the ledger took %v", time.Since(began).Round(time.Millisecond))
	s.stop()
	began = time.Now()
	s = launch(t, path, data, quick...)
	s.ready()
	took := time.Since(began)
	t.Logf("stopped and started with %d people: ready in %v", rows, took.Round(time.Millisecond))
	if long && took > importStart {
		t.Errorf("it took %v, want at most %v", took, importStart)
	}
}
