package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Role says what a key is for.
type Role string

// Roles of a key.
const (
	RoleAdmin    Role = "admin"    // everything
	RoleSender   Role = "sender"   // what sends mail: registers campaigns, mints, tells of deliveries, follows consent
	RoleMarketer Role = "marketer" // who reads reports: numbers of campaigns, and nothing of a person
	RolePrivacy  Role = "privacy"  // who answers people: consent, its history, who is to be asked again
	// RoleAdvertiser is who has advertisements in mail: what was released to this one advertiser, and nothing else.
	RoleAdvertiser Role = "advertiser"
)

// RoleList is some of the roles.
type RoleList []Role

// Roles are all of them.
var Roles = RoleList{RoleAdmin, RoleSender, RoleMarketer, RolePrivacy, RoleAdvertiser}

// String names them as in a sentence.
func (l RoleList) String() string {
	var b strings.Builder
	for i, r := range l {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(r))
	}
	return b.String()
}

// Holder is whose a key is.
type Holder struct {
	Name string
	Role Role
	// Advertiser is whose numbers a holder of the role advertiser may see; "" for every other role.
	Advertiser string
}

// access says who may call what beside RoleAdmin, which may call everything. Each operation that needs a key stands
// here, or the API is not made.
var access = map[string]RoleList{
	"create-campaign": {RoleSender, RoleMarketer},
	"list-campaigns":  {RoleSender, RoleMarketer},
	"show-campaign":   {RoleSender, RoleMarketer},
	"add-link":        {RoleSender, RoleMarketer},
	"list-links":      {RoleSender, RoleMarketer},
	"mend-link":       {RoleSender, RoleMarketer},
	"keep-mail":       {RoleSender, RoleMarketer},
	"show-mail":       {RoleSender, RoleMarketer},

	"show-report":       {RoleMarketer},
	"compare-campaigns": {RoleMarketer},

	"list-advertisers":       {RoleMarketer},
	"show-advertiser-report": {RoleMarketer, RoleAdvertiser}, // of its own name; see advertiserReport

	// Addresses come with these.
	"render-message":  {RoleSender},
	"mint-recipients": {RoleSender},
	"add-delivery":    {RoleSender},

	// Single persons, by address or by number.
	"set-consent":          {RolePrivacy},
	"import-consent":       {RolePrivacy},
	"look-up-consent":      {RolePrivacy},
	"list-consent-changes": {RoleSender, RolePrivacy}, // a mailer keeps its own list by it
	"list-inactive":        {RolePrivacy},
	"judge-inactive":       {RolePrivacy},

	// Whoever has it may do what the caller may, in a browser.
	"make-sign-in-link": {},
}

// RolesOf are all roles that may call an operation of the document, for whoever shows by other means what it answers; none where
// there is no such operation.
func RolesOf(operation string) RoleList {
	if roles, known := access[operation]; known {
		return withAdmin(roles)
	}
	return nil
}

// Operations are the ids of all that a role may call, by name.
func Operations(role Role) []string {
	var all []string
	for id := range access {
		if slices.Contains(RolesOf(id), role) {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

func withAdmin(l RoleList) RoleList { return append(RoleList{RoleAdmin}, l...) }

// documentAccess says in each operation's description who may call it.
func documentAccess(doc *huma.OpenAPI) error {
	missing := len(access)
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete, item.Patch} {
			if op == nil || len(op.Security) == 0 {
				continue
			}
			roles, known := access[op.OperationID]
			if !known {
				return fmt.Errorf("api: nothing says who may call %s (%s %s)", op.OperationID, op.Method, path)
			}
			missing--
			op.Description = strings.TrimSpace(op.Description + "\n\nRoles: " + withAdmin(roles).String() + ".")
		}
	}
	if missing != 0 {
		return fmt.Errorf("api: %d operations that access names do not exist", missing)
	}
	return nil
}
