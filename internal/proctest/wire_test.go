package proctest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// conn is one connection to the public side. http.Client would send a request again by itself when
// a connection breaks, and what is counted here is each request.
type conn struct {
	c    net.Conn
	r    *bufio.Reader
	last bool // the server said that it closes
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, r: bufio.NewReader(c)}, nil
}

func (c *conn) close() { c.c.Close() }

// browser is what a person's mail reader calls itself.
const browser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

// get sends one request and reads the whole answer. No error means that the answer was given.
func (c *conn) get(path string, headers ...string) (status int, err error) {
	return c.getAs(browser, path, headers...)
}

// getAs is get by another User-Agent.
func (c *conn) getAs(agent, path string, headers ...string) (status int, err error) {
	if err := c.c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	req := "GET " + path + " HTTP/1.1\r\nHost: t.example\r\nUser-Agent: " + agent + "\r\nAccept: image/avif,*/*;q=0.8\r\n"
	for _, h := range headers {
		req += h + "\r\n"
	}
	if _, err := io.WriteString(c.c, req+"\r\n"); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	c.last = resp.Close
	return resp.StatusCode, nil
}

// fetch opens a connection for one request.
func fetch(addr, path string, headers ...string) (int, error) {
	c, err := dial(addr)
	if err != nil {
		return 0, fmt.Errorf("dial: %w", err)
	}
	defer c.close()
	return c.get(path, headers...)
}
