package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/reconfirm"
)

// everything satisfies every option, and is never called.
type everything struct {
	Campaigns
	CampaignWriter
	Consent
	Minter
	aggregate.Reader
	aggregate.Mails
	Authorizer
	http.Handler
}

func newBare(t *testing.T) *API {
	t.Helper()
	e := &everything{}
	a, err := New(Options{
		Campaigns: e, Writer: e, Consent: e.Consent, Minter: e.Minter, Counts: e, Mails: e, Keys: e,
		NotReady: func() []string { return nil }, Metrics: http.NotFoundHandler(), Version: "1.2.3",
	})
	if err == nil || a != nil {
		t.Fatal("nil interfaces were taken")
	}
	a, err = New(Options{
		Campaigns: e, Writer: e, Consent: anyConsent{e}, Minter: anyMinter{e}, Counts: e, Mails: e, Keys: e, Advertisers: anyAdvertisers{}, Inactive: &reconfirm.Finder{},
		NotReady: func() []string { return nil }, Metrics: http.NotFoundHandler(), Version: "1.2.3",
		Receipts:   func() (uint8, func([]byte) []byte) { return 1, nil },
		SignInLink: func(Holder) (string, time.Time, error) { return "", time.Time{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type (
	anyConsent struct{ Consent }
	anyMinter  struct{ Minter }

	anyAdvertisers struct{ Advertisers }
)

type document struct {
	OpenAPI string                                `json:"openapi"`
	Info    struct{ Title, Version string }       `json:"info"`
	Paths   map[string]map[string]json.RawMessage `json:"paths"`
	Parts   struct {
		Schemas  map[string]json.RawMessage `json:"schemas"`
		Security map[string]json.RawMessage `json:"securitySchemes"`
	} `json:"components"`
}

type documented struct {
	OperationID string `json:"operationId"`
	Summary     string `json:"summary"`
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   map[string]any
	} `json:"parameters"`
	RequestBody *struct {
		Required bool
		Content  map[string]struct{ Schema map[string]any }
	} `json:"requestBody"`
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema map[string]any }
	} `json:"responses"`
	Security []map[string][]string `json:"security"`
}

// Every route is in the document, and everything in the document is a route.
func TestDocumentIsTheMux(t *testing.T) {
	t.Parallel()
	a := newBare(t)
	var doc document
	if err := json.Unmarshal(a.document, &doc); err != nil {
		t.Fatal(err)
	}
	var told []string
	for path, methods := range doc.Paths {
		for method := range methods {
			told = append(told, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(told)
	routed := slices.Sorted(slices.Values(a.mux.patterns))
	if !slices.Equal(told, routed) {
		t.Errorf("the document tells of\n%s\nand the mux has\n%s", strings.Join(told, "\n"), strings.Join(routed, "\n"))
	}
}

var pathParameter = regexp.MustCompile(`\{([a-z]+)\}`)

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	a := newBare(t)
	var doc document
	if err := json.Unmarshal(a.document, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Title == "" || doc.Info.Version != "1.2.3" || doc.Parts.Security["key"] == nil {
		t.Errorf("%+v", doc.Info)
	}
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, raw := range methods {
			var op documented
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			if ids[op.OperationID] || op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s %s: id %q, summary %q", method, path, op.OperationID, op.Summary)
			}
			ids[op.OperationID] = true
			checkParameters(t, path, &op)
			checkAnswers(t, method+" "+path, &op)
			if strings.HasPrefix(path, "/v1/") != (len(op.Security) == 1) {
				t.Errorf("%s %s: security %v", method, path, op.Security)
			}
			if (method == "post" || method == "put") != (op.OperationID == "make-sign-in-link" || op.RequestBody != nil && op.RequestBody.Required && len(op.RequestBody.Content) == 1+strings.Count(path, "/import")) { // which takes CSV too
				t.Errorf("%s %s: body %+v", method, path, op.RequestBody)
			}
		}
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]*)"`).FindAllStringSubmatch(string(a.document), -1) {
		if name, ok := strings.CutPrefix(ref[1], "#/components/schemas/"); !ok || doc.Parts.Schemas[name] == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	if doc.Parts.Schemas["ErrorModel"] != nil || doc.Parts.Schemas["Problem"] == nil {
		t.Error("the document tells of errors that there are not")
	}
}

func checkParameters(t *testing.T, path string, op *documented) {
	t.Helper()
	var inPath, wanted []string
	for _, p := range op.Parameters {
		if p.In == "path" {
			inPath = append(inPath, p.Name)
			if !p.Required {
				t.Errorf("%s: %s is optional in a path", path, p.Name)
			}
		}
		if len(p.Schema) == 0 || p.Name == "" {
			t.Errorf("%s: parameter %+v", path, p)
		}
	}
	for _, m := range pathParameter.FindAllStringSubmatch(path, -1) {
		wanted = append(wanted, m[1])
	}
	if !slices.Equal(inPath, wanted) {
		t.Errorf("%s has the parameters %v", path, inPath)
	}
}

func checkAnswers(t *testing.T, route string, op *documented) {
	t.Helper()
	success := 0
	for status, r := range op.Responses {
		if status[0] == '2' {
			success++
		}
		forms := 1
		if status == "200" && strings.Contains(route, "/advertisers/") { // CSV too
			forms = 2
		}
		if r.Description == "" || len(r.Content) != forms {
			t.Errorf("%s: answer %s: %+v", route, status, r)
		}
		for mediaType, c := range r.Content {
			if len(c.Schema) == 0 {
				t.Errorf("%s: answer %s has no schema", route, status)
			}
			if isProblem := mediaType == problemType; status[0] == '4' && !isProblem {
				t.Errorf("%s: answer %s is %s", route, status, mediaType)
			}
		}
	}
	if success != 1 {
		t.Errorf("%s has %d successes", route, success)
	}
}

// The schemas of bodies say what decode insists on: the same names, the same ones required, nothing else.
func TestSchemasOfBodiesAreWhatDecodeReads(t *testing.T) {
	t.Parallel()
	a := newBare(t)
	var doc document
	if err := json.Unmarshal(a.document, &doc); err != nil {
		t.Fatal(err)
	}
	for name, into := range map[string]any{
		"NewCampaign": new(NewCampaign), "NewLink": new(NewLink), "MendedLink": new(MendedLink), "Delivery": new(Delivery),
		"MailRequest": new(MailRequest), "Decision": new(Decision), "Who": new(Who),
	} {
		var s struct {
			Properties           map[string]any
			Required             []string
			AdditionalProperties *bool
		}
		if err := json.Unmarshal(doc.Parts.Schemas[name], &s); err != nil {
			t.Fatal(err)
		}
		if s.AdditionalProperties == nil || *s.AdditionalProperties {
			t.Errorf("%s allows anything", name)
		}
		for property := range s.Properties {
			err := decode([]byte(`{"`+property+`":[]}`), into)
			if err == nil || strings.Contains(err.Error(), property+" is unknown") {
				t.Errorf("%s: decode does not know %s", name, property)
			}
		}
		err := decode([]byte(`{}`), into)
		missing := 0
		if p := problemOf(err); p != nil {
			missing = len(p.Errors)
		}
		if missing != len(s.Required) {
			t.Errorf("%s: decode misses %d fields, the schema requires %v", name, missing, s.Required)
		}
	}
}

func TestDecodeReadsEveryKind(t *testing.T) {
	t.Parallel()
	var m MailRequest
	if err := decode([]byte(` {"to":"a\u00e9","html":"<>","eml":"AP8=","text_links":true,"text":null} `), &m); err != nil {
		t.Fatal(err)
	}
	if m.To != "aé" || m.HTML != "<>" || string(m.EML) != "\x00\xff" || !m.TextLinks || m.Text != "" {
		t.Errorf("%+v", m)
	}
	var d Delivery
	if err := decode([]byte(`{"id":"x","delivered":18446744073709551615}`), &d); err != nil || d.Delivered != 1<<64-1 {
		t.Errorf("%+v %v", d, err)
	}
	var l MendedLink
	if err := decode([]byte(`{"url":"x","label":"","hidden":false}`), &l); err != nil || l.Label == nil || *l.Label != "" || l.Hidden == nil || l.Advertiser != nil {
		t.Errorf("%+v %v", l, err)
	}
}

func TestAPanicTellsNothing(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	a := newBare(t)
	a.o.Logger = newTextLogger(&log)
	a.o.Keys = all{}
	a.o.Minter = exploding{}
	r, w := newRequest(t, http.MethodPost, "/v1/consent/lookup", `{"subject":"anna@example.com"}`)
	a.ServeHTTP(w, r)
	if w.Code != 500 || strings.Contains(w.Body.String()+log.String(), "anna") || !strings.Contains(log.String(), "lookUp") {
		t.Errorf("%d %s\n%s", w.Code, w.Body, &log)
	}
}

type all struct{}

func (all) Allow(string) (Holder, bool) { return Holder{Name: "everybody", Role: RoleAdmin}, true }

type exploding struct{ Minter }

func (exploding) Subject(address string) (uint64, error) { panic("can't bear " + address) }
