package dashboard

import (
	"encoding/csv"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/internal/campaign"
)

const attack = `</title><script>alert(1)</script><img src=x onerror=alert(2)>"'` + "\u202e"

// TestScript: whatever stands in a title, a label, an advertiser's name, a destination, a query or a viewer's name is text.
func TestScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.viewer = Viewer{Name: attack, Role: "admin", CSRF: attack}
	n := w.campaigns.add("evil", attack, now.Add(-time.Hour), 800,
		campaign.Link{URL: "https://example.com/?x=</bdi><script>alert(3)</script>", Label: attack, Advertiser: "<b>bold"}, campaign.Link{URL: "https://example.com/<script>alert(4)"})
	w.fill(t, rand.New(rand.NewPCG(1, 1)), n, now.Add(-time.Hour), 800, 0.3)
	w.faults = []string{attack}
	w.sys.Fold = &Fold{Fault: attack, FaultSince: now}
	for _, address := range []string{"/campaigns", "/campaigns?q=%3C/title%3E%3Cscript%3E", "/campaigns/evil?by=day", "/campaigns/evil?zone=%3Cscript%3E", "/compare", "/system", "/campaigns/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/consent"} {
		doc := parse(t, w.get(t, address).Body.String())
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if n.Data == "script" && attribute(n, "src") != w.files.Script || n.Data == "img" || n.Data == "b" || attribute(n, "onerror") != "" {
				t.Errorf("%s: <%s %v>", address, n.Data, n.Attr)
			}
			if href := attribute(n, "href"); href != "" && !strings.HasPrefix(href, "/") && !strings.HasPrefix(href, "#") {
				t.Errorf("%s leads to %s", address, href)
			}
		}
	}
	// The text is there, whole, and can't turn what stands beside it around.
	doc := parse(t, w.page(t, "/campaigns/evil"))
	if got := text(all(doc, "h1", "bdi")[0]); got != attack {
		t.Errorf("the title is %q", got)
	}
	links := slices.IndexFunc(all(doc, "table"), func(n *html.Node) bool { return attribute(n, "id") == "links" })
	if got := text(all(all(doc, "table")[links], "tbody", "bdi")[0]); got != attack {
		t.Errorf("the label is %q", got)
	}
}

// TestFormulas: no cell of a file begins as a formula does, whoever wrote it.
func TestFormulas(t *testing.T) {
	t.Parallel()
	formulas := []string{`=HYPERLINK("http://x.example","a")`, "+1+1", "-2+3", "@SUM(A1)"}
	w := newWorld(t)
	for i, f := range formulas {
		n := w.campaigns.add("c"+string(rune('0'+i)), f, now.Add(-time.Hour), 800, campaign.Link{URL: "https://example.com", Label: f, Advertiser: strings.ReplaceAll(f, "/", "")})
		w.fill(t, rand.New(rand.NewPCG(1, 1)), n, now.Add(-time.Hour), 800, 0.3)
	}
	for _, address := range []string{"/campaigns?format=csv", "/campaigns/c0?format=csv", "/campaigns/c1?format=csv&table=links", "/campaigns/c2?format=csv&table=links", "/compare?format=csv", "/compare?format=csv&table=ranking", "/consent?format=csv", "/system?format=csv"} {
		answer := w.get(t, address)
		if got := answer.Header().Get("Content-Type"); answer.Code != 200 || !strings.HasPrefix(got, "text/csv") || !strings.Contains(answer.Header().Get("Content-Disposition"), `.csv"`) {
			t.Errorf("%s: %d %v", address, answer.Code, answer.Header())
		}
		records, err := csv.NewReader(answer.Body).ReadAll()
		must(t, err)
		for _, r := range records {
			for _, cell := range r {
				if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
					t.Errorf("%s has %q", address, cell)
				}
			}
		}
		if strings.HasPrefix(address, "/campaigns?") && (len(records) != 5 || records[1][1] != "'"+formulas[3]) {
			t.Errorf("%v", records)
		}
	}
	// JSON is for programs: the text is as it was written.
	if got := w.json(t, "/campaigns?format=json")["campaigns"][3]["title"]; got != formulas[0] {
		t.Errorf("title %q", got)
	}
}

// TestFilesHaveAllTables: each table of each page is in its JSON, as CSV with the same rows, and where a page shows a
// part, the file has all.
func TestFilesHaveAllTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.season(t, 30)
	var many []campaign.Link
	for range 250 {
		many = append(many, campaign.Link{URL: "https://example.com/" + strings.Repeat("x", 300)})
	}
	n := w.campaigns.add("many", "", now.Add(-time.Hour), 100, many...)
	var c aggregate.Commit
	for h := range uint32(400) {
		c.Counts = append(c.Counts, aggregate.Count{Cell: aggregate.Cell{Campaign: n, Hour: 490_000 + h*7, Kind: event.Click, Link: uint16(h%250) + 1}, N: uint64(h) + 1})
	}
	w.commit(t, c)
	for _, page := range []struct {
		address string
		tables  int
	}{{"/campaigns?", 1}, {"/campaigns/letter-026?", 6}, {"/campaigns/many?", 6}, {"/compare?", 2}, {"/consent?", 1}, {"/system?", 1}} {
		tables := w.json(t, page.address+"format=json")
		if len(tables) != page.tables {
			t.Errorf("%s has %d tables, want %d", page.address, len(tables), page.tables)
		}
		for id, rows := range tables {
			records, err := csv.NewReader(strings.NewReader(w.page(t, page.address+"format=csv&table="+id))).ReadAll()
			must(t, err)
			if len(records) != len(rows)+1 || len(rows) > 0 && len(records[0]) != len(rows[0]) {
				t.Errorf("%s, %s: %d rows as CSV, %d as JSON", page.address, id, len(records)-1, len(rows))
			}
		}
	}
	many250 := w.json(t, "/campaigns/many?format=json")
	if len(many250["links"]) != 250 || len(many250["timeline"]) != 400 {
		t.Errorf("%d links, %d hours", len(many250["links"]), len(many250["timeline"]))
	}
	var whole map[string]any
	must(t, json.Unmarshal(w.get(t, "/campaigns?format=json").Body.Bytes(), &whole))
	if whole["next"] != "/campaigns?before=7&format=json" {
		t.Errorf("the next part is at %v", whole["next"])
	}
}
