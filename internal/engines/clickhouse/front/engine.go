//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// engine is the library on its folder, and who may use it.
type engine struct {
	dir      string
	inserts  string // where blocks lie while the engine reads them
	hold     *connection
	version  string
	timezone string
	users    map[string]user

	mu   sync.Mutex
	idle map[string][]*connection // by what they were begun with
}

// user is somebody who may connect.
type user struct {
	password string
	readonly bool
	profile  map[string]string // settings that hold where a statement has none of its own
}

// newEngine starts the engine on a folder.
func newEngine(dir string) (*engine, error) {
	// A relative path breaks the syncing of folders.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	e := &engine{dir: dir, idle: map[string][]*connection{}, inserts: filepath.Join(dir, "inserts")}
	if err := os.RemoveAll(e.inserts); err != nil { // left by a process that was killed
		return nil, err
	}
	// Without a metadata folder at the start, DROP ... SYNC waits for ever.
	for _, sub := range []string{e.inserts, filepath.Join(dir, "metadata")} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, err
		}
	}
	if e.hold, err = connect(dir); err != nil {
		return nil, err
	}
	out, err := text(e.hold, "SELECT version(), timezone()", nil)
	if err != nil {
		return nil, err
	}
	if len(out) != 1 || len(out[0]) != 2 {
		return nil, fmt.Errorf("the engine says of itself %q", out)
	}
	e.version, e.timezone = out[0][0], out[0][1]
	return e, nil
}

// admit checks a user's password.
func (e *engine) admit(name, password string) error {
	if u, ok := e.users[name]; !ok || u.password != password {
		return &exception{516, name + ": Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)"}
	}
	return nil
}

// session is a connection of one statement, begun with a database and settings; they don't outlive
// it. Release ends it.
func (e *engine) session(username, database string, settings map[string]string) (*connection, error) {
	first := e.beginning(username, database, settings)
	key := strings.Join(first, ";")
	e.mu.Lock()
	if kept := e.idle[key]; len(kept) > 0 {
		e.idle[key] = kept[:len(kept)-1]
		e.mu.Unlock()
		return kept[len(kept)-1], nil
	}
	e.mu.Unlock()
	c, err := connect(e.dir)
	if err != nil {
		return nil, err
	}
	c.begun = key
	for _, statement := range first {
		if _, _, err := c.run(statement, "Null", nil); err != nil {
			library.closeConn(c.c)
			return nil, err
		}
	}
	return c, nil
}

// mostKinds bounds the kinds of sessions that are kept, mostIdle how many of a kind.
const mostKinds, mostIdle = 64, 8

// release ends a session. After a query, which leaves nothing behind, it is kept for the next that
// begins the same: a new one takes a millisecond.
func (e *engine) release(c *connection, statement string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if isQuery(statement) && len(e.idle[c.begun]) < mostIdle {
		if len(e.idle) >= mostKinds {
			for key, kept := range e.idle { // any
				for _, c := range kept {
					library.closeConn(c.c)
				}
				delete(e.idle, key)
				break
			}
		}
		e.idle[c.begun] = append(e.idle[c.begun], c)
		return
	}
	library.closeConn(c.c)
}

// beginning are the statements that make a session what it should be.
func (e *engine) beginning(username, database string, settings map[string]string) []string {
	var first []string
	// Unqualified names in the default database would be looked up as files.
	if database != "" && database != "default" {
		first = append(first, "USE "+identifier(database))
	}
	for _, settings := range []map[string]string{e.users[username].profile, settings} {
		var set []string
		for name, value := range settings {
			set = append(set, identifier(name)+" = "+quote(value))
		}
		if slices.Sort(set); len(set) > 0 {
			first = append(first, "SET "+strings.Join(set, ", "))
		}
	}
	if e.users[username].readonly {
		first = append(first, "SET readonly = 2")
	}
	return first
}

// text runs a query and gives its rows as text.
func text(c *connection, query string, params map[string]string) ([][]string, error) {
	out, _, err := c.run(query, "TSVRaw", params)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, nil
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func identifier(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

// column is a name and a type.
type column struct{ name, typ string }

// header are the columns of a query's result.
func header(c *connection, query string, params map[string]string) ([]column, error) {
	rows, err := text(c, "DESCRIBE TABLE ("+strings.TrimRight(query, "; \n\t")+"\n)", params)
	if err != nil {
		return nil, err
	}
	var all []column
	for _, r := range rows {
		all = append(all, column{r[0], r[1]})
	}
	return all, nil
}

// insertion matches an INSERT whose rows come in blocks behind it.
var insertion = regexp.MustCompile(`(?is)^\s*(INSERT\s+INTO\s+([^\s(]+)\s*(?:\(([^()]*)\))?)\s*(?:FORMAT\s+Native|VALUES)\s*;?\s*$`)

// insert is an INSERT that waits for its blocks.
type insert struct {
	statement string // up to the list of columns
	columns   []column
}

// parseInsert finds out which columns an INSERT takes; nil if the text is something else.
func parseInsert(c *connection, query string) (*insert, error) {
	m := insertion.FindStringSubmatch(query)
	if m == nil {
		return nil, nil
	}
	rows, err := text(c, "DESCRIBE TABLE "+m[2], nil)
	if err != nil {
		return nil, err
	}
	in, types := &insert{statement: m[1]}, map[string]string{}
	for _, r := range rows {
		types[r[0]] = r[1]
		if len(r) < 3 || r[2] != "MATERIALIZED" && r[2] != "ALIAS" && r[2] != "EPHEMERAL" {
			in.columns = append(in.columns, column{r[0], r[1]})
		}
	}
	if strings.TrimSpace(m[3]) == "" {
		return in, nil
	}
	in.columns = nil
	for name := range strings.SplitSeq(m[3], ",") {
		name = strings.Trim(name, "` \t\n\"")
		typ, ok := types[name]
		if !ok {
			return nil, &exception{16, "No such column " + name + " in table " + m[2] + ". (NO_SUCH_COLUMN_IN_TABLE)"}
		}
		in.columns = append(in.columns, column{name, typ})
	}
	return in, nil
}

// run inserts blocks. They go through a file: of data behind a statement the engine takes nothing
// after the first empty line, whatever the format is.
func (in *insert) run(e *engine, c *connection, blocks []byte) (rows uint64, err error) {
	f, err := os.CreateTemp(e.inserts, "*.native")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(f.Name()) }() // what stays is removed at the next start
	defer f.Close()
	if _, err := f.Write(blocks); err != nil {
		return 0, err
	}
	_, rows, err = c.run(in.statement+" FROM INFILE "+quote(f.Name())+" COMPRESSION 'none' FORMAT Native", "Null", nil)
	return rows, err
}

var reading = regexp.MustCompile(`(?is)^(\s|\(|--[^\n]*\n|/\*.*?\*/)*(SELECT|WITH)\b`)

// isQuery says whether a statement has a result even if that has no rows.
func isQuery(statement string) bool { return reading.MatchString(statement) }
