package dashboard

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/advertiser"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// now is the tests' clock, which stands.
var now = time.Date(2026, 5, 20, 10, 30, 0, 0, time.UTC)

// registered is a registry and what the control log said to it.
type registered struct {
	*campaign.Registry
	t        testing.TB
	position control.Position
}

// apply folds one record, whose form is that of internal/campaign/FORMAT.md.
func (r *registered) apply(kind control.Kind, key string, body map[string]any) {
	r.t.Helper()
	b, err := json.Marshal(body)
	must(r.t, err)
	r.position++
	must(r.t, r.Apply(control.Entry{Position: r.position, Record: control.Record{Kind: kind, Key: key, Time: now, Body: b}}))
}

// add registers one more campaign.
func (r *registered) add(name, title string, created time.Time, delivered uint64, links ...campaign.Link) uint32 {
	r.t.Helper()
	number := uint32(r.Len() + 1)
	r.apply(control.KindCampaign, name, map[string]any{"number": number, "title": title, "created": created, "hash_key": fmt.Sprintf("%032x", number)})
	for i, l := range links {
		r.apply(control.KindLink, fmt.Sprintf("%s/%d", name, i+1), map[string]any{"id": fmt.Sprint(i), "url": l.URL, "label": l.Label, "advertiser": l.Advertiser, "hidden": l.Hidden})
	}
	if delivered > 0 {
		r.apply(control.KindDelivery, name+"/batch-1", map[string]any{"delivered": delivered, "bounced": delivered / 50})
	}
	return number
}

// world is a dashboard with what it shows.
type world struct {
	*Dashboard
	mux       *http.ServeMux
	campaigns *registered
	store     *storetest.Memory
	reader    *gate
	table     *consent.Table
	sys       System
	faults    []string
	offset    uint64
	viewer    Viewer
}

// sponsors are two advertisers, one of whom wrote markup into the name.
type sponsors struct{}

func (sponsors) List(after string, limit int) []advertiser.Listed {
	return []advertiser.Listed{{Name: "<b>Birch & Co", Campaigns: 1, Links: 1}, {Name: "Alder/1", Campaigns: 2, Links: 3}}[:min(2, limit)]
}

func (sponsors) Report(_ context.Context, name string) (*advertiser.Report, error) {
	if name != "Alder/1" && name != "<b>Birch & Co" {
		return nil, advertiser.ErrUnknown
	}
	people := uint64(125)
	return &advertiser.Report{
		Advertiser: name, People: people, Withheld: 1,
		Campaigns: []advertiser.CampaignReport{
			{Campaign: "letter-002", Title: "=cmd", State: advertiser.Counting, People: people, Withheld: 1, Cells: []advertiser.Cell{
				{From: now.AddDate(0, 0, -14), To: now.AddDate(0, 0, -7), People: &people, Released: now, Epsilon: "1"},
				{From: now.AddDate(0, 0, -7), To: now, Withheld: true, Released: now, Epsilon: "1"},
			}},
			{Campaign: "letter-001", State: advertiser.FewDelivered, Cells: []advertiser.Cell{}},
		},
		Ledger: []advertiser.Year{{Year: 2026, Releases: 2, Spent: "2", Budget: 208}},
		Method: advertiser.Method{Epsilon: "1", EpochSeconds: 604800, LeastDelivered: 500, LeastShown: 20, RoundedTo: 5, MostCells: 4},
	}, nil
}

// gate is a store that can be down.
type gate struct {
	aggregate.Reader
	err error
}

func (g *gate) Counts(ctx context.Context, c uint32) ([]aggregate.Count, error) {
	if g.err != nil {
		return nil, g.err
	}
	return g.Reader.Counts(ctx, c)
}

func (g *gate) Summaries(ctx context.Context, cs []uint32, hours uint32) ([]aggregate.Summary, error) {
	if g.err != nil {
		return nil, g.err
	}
	return g.Reader.Summaries(ctx, cs, hours)
}

func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	w := &world{
		campaigns: &registered{Registry: campaign.NewRegistry(), t: t}, store: storetest.NewMemory(), table: consent.NewTable(consent.BasisSubject),
		viewer: Viewer{Name: "ann", Role: "admin", CSRF: "token-of-the-session"},
	}
	w.reader = &gate{Reader: w.store}
	o := Options{
		Campaigns: w.campaigns, Counts: w.reader, Mails: w.store, Advertisers: sponsors{}, Consent: w.table, Version: "1.2.3", SignOut: "/sign-out",
		System: func() System { return w.sys }, NotReady: func() []string { return w.faults }, Now: func() time.Time { return now },
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	w.Dashboard, err = New(o)
	must(t, err)
	w.mux = http.NewServeMux()
	for _, p := range w.Pages() {
		w.mux.HandleFunc(p.Path, func(rw http.ResponseWriter, r *http.Request) { p.Handler(rw, r, w.viewer) })
	}
	w.mux.Handle("GET "+FilesPath, w.Files())
	w.mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) { w.NotFound(rw, r, w.viewer) })
	return w
}

// get asks for an address.
func (w *world) get(t testing.TB, address string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	w.mux.ServeHTTP(answer, r)
	return answer
}

// page asks for a page that is there.
func (w *world) page(t testing.TB, address string) string {
	t.Helper()
	answer := w.get(t, address)
	if answer.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", address, answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// json asks for tables.
func (w *world) json(t testing.TB, address string) (tables map[string][]map[string]any) {
	t.Helper()
	out := struct{ Tables *map[string][]map[string]any }{&tables}
	must(t, json.NewDecoder(strings.NewReader(w.page(t, address))).Decode(&out))
	return tables
}

func (w *world) commit(t testing.TB, c aggregate.Commit) {
	t.Helper()
	c.Before, c.After.Offset = w.offset, w.offset+1
	w.offset++
	must(t, w.store.Commit(t.Context(), &c))
}

// season fills a world with campaigns of an evenly mixed year: large and small, liked and not, with all that can happen.
func (w *world) season(t testing.TB, campaigns int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	titles := []string{"Spring news", "What our readers asked this week", "Offers until Sunday", "Ein Brief an alle, die im letzten Jahr dabei waren", "Two minutes on soil", "Invitation"}
	for i := range campaigns {
		created := now.Add(-time.Duration(campaigns-i) * 36 * time.Hour)
		people := 30 + int(math.Pow(float64(i%9), 3))*17
		if i%13 == 7 {
			people = 0
		}
		number := w.campaigns.add(fmt.Sprintf("letter-%03d", i+1), titles[i%len(titles)], created, uint64(people),
			campaign.Link{URL: "https://example.com/lead-article?utm_source=letter&utm_campaign=long-name", Label: "Read on"},
			campaign.Link{URL: "https://acme.example/offer", Label: "A pump for every garden", Advertiser: "Acme Pumps"},
			campaign.Link{URL: "https://example.com/archive", Label: "All letters"},
			campaign.Link{URL: "https://example.com/trap", Hidden: true})
		w.fill(t, rnd, number, created, people, 0.15+0.35*float64(i%5)/5)
	}
}

// fill has people open and click.
func (w *world) fill(t testing.TB, rnd *rand.Rand, number uint32, sent time.Time, people int, interest float64) {
	t.Helper()
	if people == 0 {
		return
	}
	hashes := func(from, n int) []uint64 {
		all := make([]uint64, n)
		for i := range all {
			all[i] = uint64(from+i) + 1
		}
		return all
	}
	must(t, w.store.AddPopulation(t.Context(), []aggregate.Population{
		{Campaign: number, Hashes: hashes(0, people-people/8)},
		{Campaign: number, Member: aggregate.Member{Opens: event.OptedOut, Clicks: event.OptedOut}, Hashes: hashes(people-people/8, people/12)},
		{Campaign: number, Member: aggregate.Member{Opens: event.PlainText, Clicks: event.PlainText}, Hashes: hashes(people-people/8+people/12, people/8-people/12)},
	}))
	c := aggregate.Commit{}
	hour := uint32(sent.Unix() / 3600)
	add := func(n uint64, cell aggregate.Cell) {
		if n > 0 {
			cell.Campaign = number
			c.Counts = append(c.Counts, aggregate.Count{Cell: cell, N: n})
		}
	}
	human, proxied := int(interest*float64(people)), int(interest*0.4*float64(people))
	for h := range uint32(150) {
		decay := math.Exp(-float64(h)/14) / 14 * (1 + 0.5*math.Sin(float64(h)/3.8))
		some := func(n int) uint64 { return uint64(float64(n)*decay*(0.7+0.6*rnd.Float64()) + 0.3) }
		add(some(human*3/2), aggregate.Cell{Hour: hour + h, Kind: event.Open, Class: classify.Human, Client: event.Client(rnd.IntN(5))})
		add(some(proxied), aggregate.Cell{Hour: hour + h, Kind: event.Open, Class: classify.Proxied, Client: event.Gmail})
		add(some(people/6), aggregate.Cell{Hour: hour + h, Kind: event.Open, Class: classify.Machine, Client: event.AppleMail})
		for link := range uint16(3) {
			add(some(human/6/int(link+1)), aggregate.Cell{Hour: hour + h, Link: link + 1, Kind: event.Click, Class: classify.Human, Client: event.Chrome})
		}
	}
	add(uint64(people/30), aggregate.Cell{Hour: hour, Link: 4, Kind: event.Click, Class: classify.Machine, Client: event.OtherClient})
	add(uint64(people/20), aggregate.Cell{Hour: hour, Kind: event.Open, Reason: event.OptedOut})
	add(uint64(people/40), aggregate.Cell{Hour: hour + 1, Kind: event.Click, Reason: event.OptedOut})
	add(uint64(people/90), aggregate.Cell{Hour: hour + 2, Kind: event.Open, Reason: event.GPC})
	key := func(k event.Kind, link uint16, class classify.Class) aggregate.UniqueKey {
		return aggregate.UniqueKey{Campaign: number, Link: link, Kind: k, Class: class}
	}
	c.Uniques = []aggregate.Uniques{
		{UniqueKey: key(event.Open, 0, classify.Human), Hashes: hashes(0, human)},
		{UniqueKey: key(event.Open, 0, classify.Proxied), Hashes: hashes(human, proxied)},
	}
	for link := range 3 {
		c.Uniques = append(c.Uniques, aggregate.Uniques{UniqueKey: key(event.Click, uint16(link+1), classify.Human), Hashes: hashes(link*human/20, human/8/(link+1))})
	}
	w.commit(t, c)
}

// consents has people choose.
func (w *world) consents(t testing.TB, people int) {
	t.Helper()
	var b bytes.Buffer
	b.WriteByte(2)
	word := func(n uint64) { b.Write(binary.BigEndian.AppendUint64(nil, n)) }
	word(uint64(people))
	for i := range uint64(people) {
		word(i + 1)
		b.WriteByte([]byte{2, 2 << 2, 2<<4 | 2, 1 << 6, 1 | 1<<2}[i%5])
	}
	word(0) // bulk records
	must(t, w.table.Restore(b.Bytes()))
}
