package deploy_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// instruction is one of the Dockerfile, its lines joined.
type instruction struct{ name, args string }

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	joined := strings.ReplaceAll(text(t, "Dockerfile"), "\\\n", " ")
	var all []instruction
	for line := range strings.Lines(joined) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" && name != "#" {
			all = append(all, instruction{name, strings.TrimSpace(args)})
		}
	}
	return all
}

// ignored says whether the build's context leaves a file out: the last rule that fits decides.
func ignored(rules []string, name string) bool {
	out := false
	for _, rule := range rules {
		keep := strings.HasPrefix(rule, "!")
		rule = strings.TrimPrefix(rule, "!")
		fits := rule == "*" || name == rule || strings.HasPrefix(name, rule+"/")
		if any, ok := strings.CutPrefix(rule, "**/"); ok {
			for part := range strings.SplitSeq(name, "/") {
				if m, err := path.Match(any, part); err == nil && m {
					fits = true
				}
			}
		}
		if fits {
			out = !keep
		}
	}
	return out
}

// copyTree copies what the context has of a file or folder.
func copyTree(t *testing.T, rules []string, from, to string) {
	t.Helper()
	copied := 0
	err := filepath.WalkDir(filepath.Join("..", from), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel("..", p)
		if err != nil || ignored(rules, filepath.ToSlash(name)) {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(name, from))
		copied++
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o644)
	})
	if err != nil || copied == 0 {
		t.Fatalf("COPY %s: %d files, %v", from, copied, err)
	}
}

// TestImageBuilds does what the Dockerfile's first stage does, in a folder: what it copies is there and
// enough, and what it runs makes a static program.
func TestImageBuilds(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program anew")
	}
	t.Parallel()
	rules := strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(text(t, "Dockerfile.dockerignore"), ""))
	src := t.TempDir()
	built := ""
	for _, in := range dockerfile(t) {
		switch {
		case in.name == "COPY" && !strings.HasPrefix(in.args, "--"):
			words := strings.Fields(in.args)
			from, to := words[:len(words)-1], words[len(words)-1]
			for _, f := range from {
				target := filepath.Join(src, to)
				if strings.HasSuffix(to, "/") {
					target = filepath.Join(src, to, filepath.Base(f))
				}
				copyTree(t, rules, f, target)
			}
		case in.name == "RUN" && strings.Contains(in.args, "go build"):
			built = filepath.Join(src, "out", "mailbeacon")
			line := strings.Replace(in.args, "/out/mailbeacon", built, 1)
			if out, code := run(t.Context(), t, src, environ("GOFLAGS=-mod=readonly"), "sh", "-c", line); code != 0 {
				t.Fatalf("%s:\n%s", line, out)
			}
		}
	}
	if built == "" {
		t.Fatal("nothing is built")
	}
	if out, code := run(t.Context(), t, src, environ(), built, "version"); code != 0 || !strings.HasPrefix(out, "mailbeacon ") {
		t.Errorf("version: exit code %d, %s", code, out)
	}
	if out, _ := run(t.Context(), t, src, environ(), "go", "version", "-m", built); !strings.Contains(out, "CGO_ENABLED=0") || !strings.Contains(out, "-trimpath=true") {
		t.Errorf("it is not static, or tells where it was built:\n%s", out)
	}
}

func TestContextHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	rules := strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(text(t, "Dockerfile.dockerignore"), ""))
	for name, out := range map[string]bool{
		"deploy/secrets/clickhouse.password": true, "mailbeacon-data/keyring.json": true, ".git/config": true,
		"ingest/spool/spool_test.go": true, "ingest/spool/spool.go": false, "go.sum": false, "internal/edge/notfound.html": false,
	} {
		if ignored(rules, name) != out {
			t.Errorf("%s: left out is %v, want %v", name, !out, out)
		}
	}
	if !strings.Contains(text(t, "../.gitignore"), "/deploy/secrets/") {
		t.Error("git takes the secrets")
	}
}

func TestImageRuns(t *testing.T) {
	t.Parallel()
	last := map[string]string{}
	for _, in := range dockerfile(t) {
		last[in.name] = in.args
		if m := regexp.MustCompile(`^--from=build (?:--chown=\S+ )?(/out/\S+)`).FindStringSubmatch(in.args); in.name == "COPY" && m != nil {
			if strings.Count(text(t, "Dockerfile"), m[1]) < 2 {
				t.Errorf("nobody makes %s", m[1])
			}
		}
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(last["USER"]) {
		t.Errorf("USER %s", last["USER"])
	}
	list := func(s string) (words []string) {
		if err := json.Unmarshal([]byte(s), &words); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return words
	}
	if entry := list(last["ENTRYPOINT"]); len(entry) != 1 || entry[0] != "mailbeacon" {
		t.Errorf("ENTRYPOINT %v", entry)
	}
	checkCommand(t, "CMD", list(last["CMD"]))
	_, check, _ := strings.Cut(last["HEALTHCHECK"], "CMD ")
	words := list(check)
	if words[0] != "mailbeacon" {
		t.Errorf("HEALTHCHECK runs %v", words)
	}
	checkCommand(t, "HEALTHCHECK", words[1:])
	var env []string
	for kv := range strings.FieldsSeq(last["ENV"]) {
		if strings.HasPrefix(kv, "MAILBEACON_") {
			env = append(env, kv)
		}
	}
	if c := load(t, "ENV", "serve", nil, env, nil); c == nil || c.Data != list(last["VOLUME"])[0] {
		t.Errorf("data goes to %+v, the volume is at %s", c, last["VOLUME"])
	}
}
