package deploy_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailbeacon/ingest/clickhouse"
	"mailbeacon/ingest/kafka"
	"mailbeacon/internal/config"
)

// unit is a unit's settings by name; the same name may stand several times.
func unit(t *testing.T, path string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for line := range strings.Lines(text(t, path)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '[' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Errorf("%s: %q sets nothing", path, line)
		}
		all[name] = append(all[name], value)
	}
	return all
}

var hardening = []string{
	"NoNewPrivileges=yes", "CapabilityBoundingSet=", "AmbientCapabilities=", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes",
	"PrivateUsers=yes", "ProtectProc=invisible", "ProtectClock=yes", "ProtectControlGroups=yes", "ProtectHostname=yes", "ProtectKernelLogs=yes",
	"ProtectKernelModules=yes", "ProtectKernelTunables=yes", "RestrictAddressFamilies=AF_INET AF_INET6", "RestrictNamespaces=yes", "RestrictRealtime=yes",
	"RestrictSUIDSGID=yes", "LockPersonality=yes", "MemoryDenyWriteExecute=yes", "UMask=0077", "SystemCallArchitectures=native",
	"SystemCallFilter=@system-service", "StateDirectoryMode=0700", "User=mailbeacon", "Restart=always",
}

func TestUnits(t *testing.T) {
	t.Parallel()
	file := stand(t)
	files := map[string]string{"/etc/mailbeacon/keyring.json": file, "/etc/mailbeacon/kafka.password": file, "/etc/mailbeacon/clickhouse.password": file}
	for _, role := range roles {
		path := "systemd/mailbeacon-" + string(role) + ".service"
		u, lines := unit(t, path), "\n"+text(t, path)
		for _, line := range hardening {
			if !strings.Contains(lines, "\n"+line+"\n") {
				t.Errorf("%s lacks %s", path, line)
			}
		}
		words := strings.Fields(u["ExecStart"][0])
		if words[0] != "/usr/local/bin/mailbeacon" || words[1] != string(role) {
			t.Errorf("%s starts %v", path, words)
		}
		checkCommand(t, path, words[1:])
		example := filepath.Join("systemd", filepath.Base(u["EnvironmentFile"][0])+".example")
		env := variables(t, example)
		c := load(t, path, role, words[2:], env, files)
		if c == nil {
			continue
		}
		if c.Data != "%S/"+u["StateDirectory"][0] {
			t.Errorf("%s: data goes to %s, the state is in %s", path, c.Data, u["StateDirectory"])
		}
		stop, err := time.ParseDuration(u["TimeoutStopSec"][0] + "s")
		if err != nil || stop < 3*c.StopTimeout {
			t.Errorf("%s: a stop may take three times %s, and is killed after %s", path, c.StopTimeout, stop)
		}
		if role == config.Serve {
			continue
		}
		if k, err := kafka.Parse(c.Kafka); err != nil || k.SASL == nil || k.SASL.Password != "secret" || k.TLS == nil {
			t.Errorf("%s: Kafka %v", example, err)
		}
		if o, err := clickhouse.Parse(c.ClickHouse); err != nil || o.Password != "secret" || o.TLS == nil || !o.Replicated {
			t.Errorf("%s: ClickHouse %v", example, err)
		}
	}
}

// variables are those of an environment file.
func variables(t *testing.T, path string) []string {
	t.Helper()
	var env []string
	for line := range strings.Lines(text(t, path)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if !regexp.MustCompile(`^MAILBEACON_[A-Z_]+=`).MatchString(line) {
			t.Errorf("%s: %q sets nothing", path, line)
		}
		env = append(env, line)
	}
	return env
}

// Several roles may run on one machine.
func TestUnitsDoNotCollide(t *testing.T) {
	t.Parallel()
	taken := map[string]config.Role{}
	for _, role := range []config.Role{config.Edge, config.Consume, config.Admin} {
		line := unit(t, "systemd/mailbeacon-"+string(role)+".service")["ExecStart"][0]
		for _, m := range regexp.MustCompile(`--(?:admin|listen|data) (\S+)`).FindAllStringSubmatch(line, -1) {
			if other, ok := taken[m[1]]; ok {
				t.Errorf("%s and %s both have %s", other, role, m[1])
			}
			taken[m[1]] = role
		}
	}
	if len(taken) != 7 {
		t.Errorf("found %v", taken)
	}
}
