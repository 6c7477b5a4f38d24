package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"mailbeacon/ingest/clickhouse"
	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/config"
)

// service is what compose.yaml says of one.
type service struct {
	Image       string
	Build       map[string]string
	User        string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Tmpfs       []string
	Command     []string
	Environment map[string]string
	Ports       []string
	Secrets     []string
	Volumes     []string
	StopGrace   string                                `yaml:"stop_grace_period"`
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct {
		Test              []string
		Disable           bool
		Interval, Timeout string
		Retries           int
		StartPeriod       string `yaml:"start_period"`
	}
	Deploy struct {
		Resources struct{ Limits map[string]string }
	}
}

type composition struct {
	Services map[string]service
	Volumes  map[string]any
	Secrets  map[string]struct{ File string }
}

func compose(t *testing.T) composition {
	t.Helper()
	var c composition
	if err := yaml.Unmarshal([]byte(text(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) < 9 {
		t.Fatalf("only %d services found", len(c.Services))
	}
	return c
}

// variables are a service's, as the program gets them: what compose asks its caller for is filled in.
func (s service) variables() []string {
	var env []string
	for name, value := range s.Environment {
		value = regexp.MustCompile(`\$\{PUBLIC_URL:\?[^}]*\}`).ReplaceAllString(value, "https://t.example.com")
		value = regexp.MustCompile(`\$\{[A-Z_]+:-\}`).ReplaceAllString(value, "")
		env = append(env, name+"="+value)
	}
	return env
}

func TestComposeCommands(t *testing.T) {
	t.Parallel()
	file := stand(t)
	files := map[string]string{"/run/secrets/clickhouse_password": file, "/keys/keyring.json": file}
	ran := map[config.Role]int{}
	for name, s := range compose(t).Services {
		if s.Image != "mailbeacon" {
			continue
		}
		checkCommand(t, name, s.Command)
		role := config.Role(s.Command[0])
		if role == config.Admin && len(s.Command) > 1 || !slices.Contains(roles, role) {
			if !s.Healthcheck.Disable {
				t.Errorf("%s: what runs once is never healthy", name)
			}
			continue
		}
		ran[role]++
		env := s.variables()
		for _, kv := range env {
			variable, _, _ := strings.Cut(kv, "=")
			flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "MAILBEACON_"), "_", "-"))
			if strings.HasPrefix(variable, "MAILBEACON_") && roleFlags(role).Lookup(flag) == nil {
				t.Errorf("%s: %s is no setting of mailbeacon %s", name, variable, role)
			}
		}
		c := load(t, name, role, s.Command[1:], env, files)
		if c == nil {
			continue
		}
		if _, err := kafka.Parse(c.Kafka); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if o, err := clickhouse.Parse(c.ClickHouse); role != config.Edge && (err != nil || o.Password != "secret") {
			t.Errorf("%s: the password is not from its file: %v", name, err)
		}
		if grace, err := time.ParseDuration(s.StopGrace); err != nil || grace < 3*c.StopTimeout {
			t.Errorf("%s: a stop may take three times %s, and is killed after %q", name, c.StopTimeout, s.StopGrace)
		}
		if !slices.Equal(s.Healthcheck.Test[:2], []string{"CMD", "mailbeacon"}) {
			t.Errorf("%s: health check %v", name, s.Healthcheck.Test)
		} else {
			checkCommand(t, name, s.Healthcheck.Test[2:])
		}
		s.checkHealthTimes(t, name)
	}
	if want := map[config.Role]int{config.Admin: 1, config.Edge: 2, config.Consume: 2}; !maps.Equal(ran, want) {
		t.Errorf("there are %v, want %v", ran, want)
	}
}

// checkHealthTimes holds a role's health check to what the role needs: mailbeacon ready gives up after 5 s, and a consumer may wait for
// the session of one that was killed, and half a minute more for the others to give up their partitions.
func (s *service) checkHealthTimes(t *testing.T, name string) {
	t.Helper()
	times := map[string]time.Duration{}
	for what, text := range map[string]string{"interval": s.Healthcheck.Interval, "timeout": s.Healthcheck.Timeout, "start_period": s.Healthcheck.StartPeriod} {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Errorf("%s: health check: %s: %v", name, what, err)
		}
		times[what] = d
	}
	if times["timeout"] <= 5*time.Second {
		t.Errorf("%s: the health check ends after %v, before it can say why the role is not ready", name, times["timeout"])
	}
	if least := kafka.DefaultSession + 30*time.Second; times["start_period"] < least {
		t.Errorf("%s: unhealthy %v after its start, and a consumer may need %v to join its group", name, times["start_period"], least)
	}
	// A division of partitions is no fault.
	if n := time.Duration(s.Healthcheck.Retries); n < 2 || n*times["interval"] > 30*time.Second {
		t.Errorf("%s: unhealthy after %d times %v", name, n, times["interval"])
	}
}

func TestComposeIsHardened(t *testing.T) {
	t.Parallel()
	c := compose(t)
	for name, s := range c.Services {
		var wrong []string
		need := func(ok bool, what string) {
			if !ok {
				wrong = append(wrong, what)
			}
		}
		need(slices.Contains(s.CapDrop, "ALL"), "cap_drop")
		need(slices.Contains(s.SecurityOpt, "no-new-privileges:true"), "no-new-privileges")
		need(s.Deploy.Resources.Limits["memory"] != "" && s.Deploy.Resources.Limits["cpus"] != "" && s.Deploy.Resources.Limits["pids"] != "", "limits")
		if s.Image == "mailbeacon" {
			need(s.ReadOnly, "read_only")
			need(regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(s.User), "a user with a number")
			need(s.Build["dockerfile"] == "deploy/Dockerfile", "build")
		} else {
			need(regexp.MustCompile(`:\d+\.\d+`).MatchString(s.Image), "a pinned image")
		}
		for _, p := range s.Ports {
			need(strings.HasPrefix(p, "127.0.0.1:"), "port "+p+" for this machine only")
		}
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			_, named := c.Volumes[volume]
			need(named, "volume "+volume)
		}
		for _, secret := range s.Secrets {
			need(c.Secrets[secret].File != "", "secret "+secret)
		}
		for other := range s.DependsOn {
			_, there := c.Services[other]
			need(there, "service "+other)
		}
		for variable, value := range s.Environment {
			need(!regexp.MustCompile(`://[^/@]*:[^/@]*@`).MatchString(value), "no password in "+variable)
			need(!strings.HasSuffix(variable, "PASSWORD"), "no password in "+variable)
		}
		if len(wrong) > 0 {
			t.Errorf("%s lacks %v", name, wrong)
		}
	}
}

// The images are of the versions that the tests run.
func TestVersionsAreThoseOfTheTests(t *testing.T) {
	t.Parallel()
	pick := func(path, pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text(t, path))
		if m == nil {
			t.Fatalf("%s holds no %s", path, pattern)
		}
		return m[1]
	}
	services := compose(t).Services
	if want := "apache/kafka:" + pick("../internal/engines/kafka/provision.go", `\bversion += "([\d.]+)"`); services["kafka"].Image != want {
		t.Errorf("compose.yaml has %s, the tests %s", services["kafka"].Image, want)
	}
	engine := pick("../internal/engines/clickhouse/provision.go", `engineVersion += "(\d+\.\d+)\.`)
	if want := "clickhouse/clickhouse-server:" + engine; services["clickhouse"].Image != want {
		t.Errorf("compose.yaml has %s, the tests %s", services["clickhouse"].Image, want)
	}
	language := pick("../go.mod", `(?m)^go (\d+\.\d+)`)
	if want := "FROM golang:" + language + "-"; !strings.Contains(text(t, "Dockerfile"), want) {
		t.Errorf("the Dockerfile does not build with Go %s", language)
	}
}

func TestKafkaClusterID(t *testing.T) {
	t.Parallel()
	id := compose(t).Services["kafka"].Environment["CLUSTER_ID"]
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{21}[AQgw]$`).MatchString(id) {
		t.Errorf("%q is no number of 16 bytes", id)
	}
}

// Every command of mailbeacon in the comments of these files, and in their example, is one.
func TestCommentsNameCommands(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("systemd")
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"compose.yaml", "Dockerfile", "ENGINES.md"}
	for _, e := range entries {
		paths = append(paths, "systemd/"+e.Name())
	}
	found := 0
	for _, path := range paths {
		for _, m := range regexp.MustCompile("(?m)(?:exec admin |`|bin/|^(?:sudo -u mailbeacon )?)mailbeacon ([a-z]+(?: [^`\n#|]*)?)").FindAllStringSubmatch(text(t, path), -1) {
			words := strings.Fields(m[1])
			if len(words) == 0 || words[0] == "as" {
				continue
			}
			found++
			for i, w := range words {
				words[i] = strings.Trim(w, `"`)
			}
			checkCommand(t, fmt.Sprintf("%s: %s", path, m[0]), words)
		}
	}
	if found < 8 {
		t.Errorf("only %d commands found", found)
	}
}
