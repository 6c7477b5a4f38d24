package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"mailbeacon/internal/api"
)

// TestRoles: every operation of the document, by a key of every role. Who may not is told so before anything of the
// request is read, and who may gets another answer.
func TestRoles(t *testing.T) {
	t.Parallel()
	const everybody = "admin sender marketer privacy advertiser"
	may := map[string]string{
		"POST /v1/campaigns":                    "admin sender marketer",
		"GET /v1/campaigns":                     "admin sender marketer",
		"GET /v1/campaigns/{name}":              "admin sender marketer",
		"POST /v1/campaigns/{name}/links":       "admin sender marketer",
		"GET /v1/campaigns/{name}/links":        "admin sender marketer",
		"PUT /v1/campaigns/{name}/links/{link}": "admin sender marketer",
		"GET /v1/campaigns/{name}/report":       "admin marketer",
		"GET /v1/overview":                      "admin marketer",
		"GET /v1/advertisers":                   "admin marketer",
		"GET /v1/advertisers/{name}/report":     "admin marketer advertiser",
		"PUT /v1/campaigns/{name}/mail":         "admin sender marketer",
		"GET /v1/campaigns/{name}/mail":         "admin sender marketer",
		"POST /v1/campaigns/{name}/messages":    "admin sender",
		"POST /v1/campaigns/{name}/recipients":  "admin sender",
		"POST /v1/campaigns/{name}/deliveries":  "admin sender",
		"POST /v1/consent":                      "admin privacy",
		"POST /v1/consent/import":               "admin privacy",
		"POST /v1/consent/lookup":               "admin privacy",
		"GET /v1/consent/changes":               "admin sender privacy",
		"GET /v1/reconfirm":                     "admin privacy",
		"POST /v1/reconfirm":                    "admin privacy",
		"POST /v1/sign-in-links":                "admin",
		"GET /healthz":                          everybody,
		"GET /readyz":                           everybody,
		"GET /metrics":                          everybody,
		"GET /openapi.json":                     everybody,
	}
	h := newHouse(t)
	keys := map[string]string{}
	for _, role := range api.Roles {
		key, err := h.addKey("of-"+string(role), role)
		must(t, err)
		keys[string(role)] = key
		h.awaitKey(t, key)
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	must(t, json.Unmarshal(h.get(t, "/openapi.json").body, &doc))
	var operations []string
	for path, methods := range doc.Paths {
		for method := range methods {
			operations = append(operations, strings.ToUpper(method)+" "+path)
		}
	}
	for _, op := range operations {
		roles, known := may[op]
		if !known {
			t.Errorf("%s: nobody thought of who may", op)
			continue
		}
		delete(may, op)
		method, path, _ := strings.Cut(op, " ")
		path = strings.NewReplacer("{name}", "nothing", "{link}", "1").Replace(path)
		for role, key := range keys {
			a := h.do(t, method, path, strings.NewReader("spoilt"), "Authorization", "Bearer "+key)
			allowed := slices.Contains(strings.Fields(roles), role)
			if (a.status == http.StatusForbidden) == allowed || a.status == http.StatusUnauthorized {
				t.Errorf("%s by a key of role %s: %d %s", op, role, a.status, a.body)
			}
			if !allowed && (!strings.Contains(string(a.body), "role is "+role) || !strings.Contains(string(a.body), strings.ReplaceAll(roles, " ", ", "))) {
				t.Errorf("%s by a key of role %s does not say why: %s", op, role, a.body)
			}
		}
	}
	for op := range may {
		t.Errorf("%s is not in the document", op)
	}
}
