package proctest

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// scrape is the text of the metrics page.
func (s *server) scrape() string {
	s.t.Helper()
	addr, err := os.ReadFile(filepath.Join(s.data, "admin.addr"))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.Get(strings.TrimSpace(string(addr)) + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("metrics: status %d, %v", resp.StatusCode, err)
	}
	return string(b)
}

// metric is the sum over all labels of a family.
func (s *server) metric(name string) float64 {
	s.t.Helper()
	sum, found := s.family(s.scrape(), name)
	if !found {
		s.t.Fatalf("there is no metric %s", name)
	}
	return sum
}

// family is a metric of a page, and whether the page has it.
func (s *server) family(page, name string) (sum float64, found bool) {
	s.t.Helper()
	for sc := bufio.NewScanner(strings.NewReader(page)); sc.Scan(); {
		rest, ok := strings.CutPrefix(sc.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			s.t.Fatalf("metrics: %q: %v", sc.Text(), err)
		}
		sum, found = sum+v, true
	}
	return sum, found
}

// drain waits until everything in the spool is counted.
func (s *server) drain() {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if s.metric("mailbeacon_fold_offset") == s.metric("mailbeacon_spool_next") {
			return
		}
	}
	s.t.Fatalf("events wait to be counted: %v of %v are; the server said:\n%s",
		s.metric("mailbeacon_fold_offset"), s.metric("mailbeacon_spool_next"), &s.out)
}
