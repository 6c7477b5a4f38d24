package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// roles are the processes of a cluster over engines that run already.
type roles struct {
	dir     string
	name    string // of topics, group and database: the engines may hold those of others
	env     []string
	admin   *process
	workers []*process // edges and consumers, in the order of their start
}

// newRoles builds mailbeacon, makes the keys and tables and starts an admin.
func newRoles(ctx context.Context, partitions int) (_ *roles, err error) {
	for _, name := range []string{"MAILBEACON_KAFKA", "MAILBEACON_CLICKHOUSE"} {
		if os.Getenv(name) == "" {
			return nil, fmt.Errorf("%s is not set; `make engines` starts both engines and prints it", name)
		}
	}
	c := &roles{name: "bench" + strconv.FormatInt(time.Now().UnixMilli(), 36)}
	if c.dir, err = os.MkdirTemp("", "mailbeacon-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := buildMailbeacon(ctx, c.dir); err != nil {
		return nil, err
	}
	store, keyring := os.Getenv("MAILBEACON_CLICKHOUSE"), filepath.Join(c.dir, "keyring.json")
	store = store[:strings.LastIndexByte(store, '/')+1] + c.name
	c.env = []string{"MAILBEACON_TOPICS=" + c.name, "MAILBEACON_CLICKHOUSE=" + store, "MAILBEACON_GROUP=" + c.name, "MAILBEACON_KEYRING=" + keyring}
	if _, err := c.run(ctx, "keyring", "create", keyring); err != nil {
		return nil, err
	}
	if _, err := c.run(ctx, "admin", "migrate"); err != nil {
		return nil, err
	}
	c.admin, err = c.start(ctx, "admin", "--public-url", "http://localhost", "--partitions", strconv.Itoa(partitions))
	return c, err
}

// close ends all roles, the admin last, and removes what they left here.
func (c *roles) close() error {
	for i := len(c.workers) - 1; i >= 0; i-- {
		c.workers[i].stop()
	}
	c.admin.stop()
	return os.RemoveAll(c.dir)
}

// run runs a command of mailbeacon to its end.
func (c *roles) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.dir, "mailbeacon"), args...)
	cmd.Env = append(os.Environ(), c.env...)
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mailbeacon %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return strings.TrimSpace(string(text)), nil
}

// folder is the data folder of the n-th process of a role.
func (c *roles) folder(role string, n int) string {
	return filepath.Join(c.dir, role+"-"+strconv.Itoa(n))
}

// work starts an edge or a consumer.
func (c *roles) work(ctx context.Context, role string, args ...string) (*process, error) {
	p, err := c.start(ctx, role, args...)
	if err == nil {
		c.workers = append(c.workers, p)
	}
	return p, err
}

// start starts a role and waits until its private side answers.
func (c *roles) start(ctx context.Context, role string, args ...string) (*process, error) {
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	n := 0
	for _, p := range c.workers {
		if strings.HasPrefix(filepath.Base(p.data), role+"-") {
			n++
		}
	}
	data := c.folder(role, n)
	p := newProcess(admin, filepath.Join(c.dir, "mailbeacon"), append([]string{role, "--data", data, "--admin", admin}, args...)...)
	p.cmd.Env = append(os.Environ(), c.env...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.data = data
	return p, p.await(ctx, func() bool {
		resp, err := http.Get("http://" + admin + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// metric is the sum of a process's metric over its labels; found is false where it has none of it.
func (p *process) metric(name string) (sum float64, found bool, err error) {
	resp, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return 0, false, fmt.Errorf("%w; it said:\n%s", err, p.log)
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		rest, ok := strings.CutPrefix(sc.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, false, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	return sum, found, sc.Err()
}
