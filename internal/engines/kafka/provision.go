// Package kafka runs a real Kafka broker on loopback, for tests and for a first look: an installed
// one, or one that is fetched once from the Maven repository.
package kafka

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailbeacon/internal/engines"
)

const (
	// AddressVariable names a broker that runs already, host:port, for tests to use.
	AddressVariable = "MAILBEACON_TEST_KAFKA"
	// HomeVariable names the folder of an installed Kafka 4.
	HomeVariable = "KAFKA_HOME"

	version      = "4.3.1"
	slf4jVersion = "1.7.36" // as Kafka's own
	provisioning = 15 * time.Minute
)

// pom names what is fetched: the server, the tool that formats its folder, and something to
// write the log with, without which every failure is silent.
const pom = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>mailbeacon</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + version + `</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>` + version + `</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>` + slf4jVersion + `</version></dependency>
  </dependencies>
</project>
`

// Install is a Kafka that can be run.
type Install struct {
	java      string
	classPath string // each jar by its name: the archive of classes wants the same path each time
	template  string // a formatted folder, to be copied
	archive   string // of loaded classes
}

// Find returns the installed Kafka, or fetches one. What it makes is kept in the engines' cache, so that
// the next time takes no time; two processes at once are no harm.
func Find(ctx context.Context) (*Install, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, errors.New("there is no java, and Kafka needs 17 or newer: install a JRE (openjdk-17-jre-headless), or name a broker in " + AddressVariable)
	}
	cache, err := engines.Cache()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, provisioning)
	defer cancel()
	unlock, err := engines.Lock(ctx, filepath.Join(cache, "kafka.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	lib, err := jars(ctx, cache)
	if err != nil {
		return nil, err
	}
	return prepare(ctx, java, cache, lib)
}

// jars returns the folder with the server's jars.
func jars(ctx context.Context, cache string) (string, error) {
	if home := os.Getenv(HomeVariable); home != "" {
		lib := filepath.Join(home, "libs")
		if _, err := os.Stat(lib); err != nil {
			return "", fmt.Errorf("%s holds no Kafka: %w", HomeVariable, err)
		}
		return lib, nil
	}
	lib := filepath.Join(cache, "kafka-"+version)
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("there is no Kafka in %s and no mvn to fetch one with: install maven, or name a Kafka in %s or a broker in %s", lib, HomeVariable, AddressVariable)
	}
	tmp, err := os.MkdirTemp(cache, "kafka-fetch-*")
	if err != nil {
		return "", fmt.Errorf("fetch Kafka: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left costs room only
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), []byte(pom), 0o644); err != nil {
		return "", fmt.Errorf("fetch Kafka: %w", err)
	}
	got := filepath.Join(tmp, "lib")
	if err := run(ctx, tmp, mvn, "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+got); err != nil {
		return "", fmt.Errorf("fetch Kafka %s: %w", version, err)
	}
	if err := os.Rename(got, lib); err != nil {
		return "", fmt.Errorf("fetch Kafka: %w", err)
	}
	return lib, nil
}

// prepare makes the formatted folder and the archive of classes, where they are missing.
func prepare(ctx context.Context, java, cache, lib string) (*Install, error) {
	all, err := filepath.Glob(filepath.Join(lib, "*.jar"))
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("%s holds no jar", lib)
	}
	slices.Sort(all)
	h := fnv.New64a()
	h.Write([]byte(java + "\n" + strings.Join(all, "\n") + "\n" + users))
	made := filepath.Join(cache, "kafka-made-"+hex.EncodeToString(h.Sum(nil)))
	in := &Install{java: java, classPath: strings.Join(all, ":"), template: filepath.Join(made, "template"), archive: filepath.Join(made, "classes.jsa")}
	if err := os.MkdirAll(made, 0o755); err != nil {
		return nil, fmt.Errorf("prepare Kafka: %w", err)
	}
	if _, err := os.Stat(in.template); err != nil {
		if err := in.format(ctx, made); err != nil {
			return nil, fmt.Errorf("prepare Kafka: %w", err)
		}
	}
	if _, err := os.Stat(in.archive); err != nil {
		if err := in.dump(ctx, made); err != nil {
			return nil, fmt.Errorf("prepare Kafka: %w", err)
		}
	}
	return in, nil
}

// format makes the template.
func (in *Install) format(ctx context.Context, made string) error {
	tmp, err := os.MkdirTemp(made, "format-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left costs room only
	conf, data := filepath.Join(tmp, "server.properties"), filepath.Join(tmp, "data")
	o := Options{ports: []int{1, 2, 3, 4}}
	if err := os.WriteFile(conf, []byte(o.properties(data, nil)), 0o600); err != nil {
		return err
	}
	args := []string{"-cp", in.classPath, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", conf}
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, u := range Users() {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, u.Name, u.Password))
		}
	}
	if err := run(ctx, tmp, in.java, args...); err != nil {
		return fmt.Errorf("format a folder: %w", err)
	}
	return os.Rename(data, in.template)
}

// dump runs a broker once and keeps the classes that it loaded: later ones start in half the time.
func (in *Install) dump(ctx context.Context, made string) error {
	tmp, err := os.MkdirTemp(made, "dump-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left costs room only
	archive := filepath.Join(tmp, "classes.jsa")
	b, err := start(ctx, in, Options{Dir: tmp, flags: []string{"-XX:ArchiveClassesAtExit=" + archive, "-Xlog:cds=off", "-Xlog:cds+dynamic=off"}})
	if err != nil {
		return err
	}
	b.process.Stop(time.Minute)
	if err := os.Rename(archive, in.archive); err != nil {
		return fmt.Errorf("archive of classes: %w", err)
	}
	return nil
}

// run runs a command, whose output is in the error if it fails.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, tail(out))
}

// tail is the end of a log.
func tail(b []byte) []byte {
	const most = 3000
	b = bytes.TrimSpace(b)
	return b[max(0, len(b)-most):]
}
