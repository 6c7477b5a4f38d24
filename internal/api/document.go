package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"mailbeacon/internal/advertiser"
)

// schemas is where the document keeps its types.
const schemas = "#/components/schemas/"

var (
	withKey = []map[string][]string{{"key": {}}}
	noKey   = []map[string][]string{}
)

// configuration is huma's, without what it would serve by itself: pages that load scripts from
// elsewhere, and a link in every answer.
func configuration(version string) huma.Config {
	if version == "" {
		version = "0"
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "mailbeacon", Version: version,
				Description: "Consent-first open and click measurement for email. Every error is a problem (RFC 9457). " +
					"Addresses of people appear in request bodies only.",
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry(schemas, schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer", Description: "a key of `mailbeacon key add`, or the data folder's admin.key"}},
			},
		},
		// The second name is what huma makes of application/problem+json.
		Formats:                      map[string]huma.Format{jsonType: huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                jsonType,
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{toProblem},
	}
}

// problems are the error answers of a route that needs a key: those that every one has, and more.
func problems(more ...int) map[string]*huma.Response {
	all := map[string]*huma.Response{}
	for _, status := range append([]int{400, 401, 403, 413, 415, 422, 500, 503}, more...) {
		all[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemas + "Problem"}}},
		}
	}
	return all
}

// content is a body in the document: its media type and a pointer to its type, nil for text.
type content struct {
	mediaType string
	of        any
}

// schemaName is what the document calls a type: its own name, and of what advertisers are told, more: there are reports of campaigns too.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[advertiser.Report]().PkgPath() && t.Name() != "" {
		return "Advertiser" + name
	}
	return name
}

func (a *API) schema(of any) *huma.Schema {
	if of == nil {
		return &huma.Schema{Type: huma.TypeString}
	}
	return a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(of).Elem(), true, "")
}

func (a *API) contents(answers map[int]content) map[string]*huma.Response {
	all := map[string]*huma.Response{}
	for status, c := range answers {
		all[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{c.mediaType: {Schema: a.schema(c.of)}},
		}
	}
	return all
}

// documentBody says what decode reads, where huma only knows of bytes.
func (a *API) documentBody(method, path string, of any) {
	op := a.operation(method, path)
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: a.schema(of)}}}
}

// operation finds what is in the document already.
func (a *API) operation(method, path string) *huma.Operation {
	item := a.huma.OpenAPI().Paths[path]
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	}
	panic("api: no such method in the document: " + method)
}

// streamDoc is what the document says of a stream beyond its operation.
type streamDoc struct {
	in, out any  // types of a line; in nil for none
	csv     bool // in may come as CSV too
	query   []*huma.Param
	errors  []int
}

var changesQuery = huma.Param{
	Name: "after", In: "query", Description: "show what comes after this position",
	Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: new(float64)},
}

var limitQuery = huma.Param{
	Name: "limit", In: "query", Description: "end after about so many lines; 0 for all. A position is always told of wholly, which may be 8192 lines more",
	Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: new(float64)},
}

func streamOperation(id, method, path, summary, detail string) *huma.Operation {
	return &huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Description: detail,
		Security: withKey, Metadata: map[string]any{},
	}
}

func (a *API) documentStream(op *huma.Operation, doc streamDoc) {
	op.Responses = problems(doc.errors...)
	op.Responses["200"] = &huma.Response{
		Description: "one JSON object per line",
		Content:     map[string]*huma.MediaType{ndjsonType: {Schema: a.schema(doc.out)}},
	}
	if doc.in != nil {
		op.Metadata[mediaTypes] = []string{ndjsonType, "application/ndjson", "application/jsonl"}
		op.RequestBody = &huma.RequestBody{
			Required: true, Description: "one JSON object per line, each of at most 4096 bytes; as many as you like",
			Content: map[string]*huma.MediaType{ndjsonType: {Schema: a.schema(doc.in)}},
		}
	}
	if doc.csv {
		op.Metadata[mediaTypes] = append(op.Metadata[mediaTypes].([]string), csvType)
		op.RequestBody.Content[csvType] = &huma.MediaType{Schema: a.schema(nil)}
	}
	if strings.Contains(op.Path, "{name}") {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "name", In: "path", Required: true, Description: "the campaign's name", Schema: &huma.Schema{Type: huma.TypeString},
		})
	}
	op.Parameters = append(op.Parameters, doc.query...)
	a.huma.OpenAPI().AddOperation(op)
}

// finishDocument puts right what huma adds by itself, and writes the document once.
func (a *API) finishDocument() error {
	doc := a.huma.OpenAPI()
	a.schema(new(Problem))
	known := doc.Components.Schemas.Map()
	delete(known, "ErrorModel")
	delete(known, "ErrorDetail")
	if err := documentAccess(doc); err != nil {
		return err
	}
	var err error
	if a.document, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("api: write the OpenAPI document: %w", err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // the types here always have a form
		panic(err)
	}
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever hung up needs no answer
}
