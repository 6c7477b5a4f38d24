//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// reserved are the parameters of a request that are no settings of the engine.
var reserved = map[string]bool{
	"query": true, "database": true, "default_format": true, "query_id": true, "client_protocol_version": true,
	"compress": true, "decompress": true, "network_compression_method": true, "wait_end_of_query": true,
	"user": true, "password": true, "session_id": true, "quota_key": true, "role": true,
}

// ServeHTTP answers what clickhouse-go asks: statements in the Native format, plain or LZ4.
func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		fmt.Fprintln(w, "Ok.")
		return
	}
	if err := e.request(w, r); err != nil {
		x := parseException(err.Error())
		w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(x.code))
		w.WriteHeader(x.status())
		fmt.Fprintf(w, "%s (version %s)\n", x.Error(), e.version)
	}
}

func credentials(r *http.Request) (user, password string) {
	if u, p, ok := r.BasicAuth(); ok {
		return u, p
	}
	if u := r.Header.Get("X-ClickHouse-User"); u != "" {
		return u, r.Header.Get("X-ClickHouse-Key")
	}
	q := r.URL.Query()
	if u := q.Get("user"); u != "" {
		return u, q.Get("password")
	}
	return "default", ""
}

// request runs one statement; an error of it was not answered yet.
func (e *engine) request(w http.ResponseWriter, r *http.Request) error {
	user, password := credentials(r)
	if err := e.admit(user, password); err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	settings, params := map[string]string{}, map[string]string{}
	for name := range q {
		if param, ok := strings.CutPrefix(name, "param_"); ok {
			params[param] = q.Get(name)
		} else if !reserved[name] {
			settings[name] = q.Get(name)
		}
	}
	c, err := e.session(user, q.Get("database"), settings)
	if err != nil {
		return err
	}
	statement := q.Get("query")
	defer func() { e.release(c, statement) }()
	if statement != "" {
		in, err := parseInsert(c, statement)
		if err != nil {
			return err
		}
		if in != nil {
			return e.insertBody(c, in, body, q.Get("decompress") == "1")
		}
		statement += "\n"
	}
	statement += string(body)
	return e.answer(w, r, c, statement, params)
}

func (e *engine) insertBody(c *connection, in *insert, body []byte, compressed bool) error {
	src := proto.NewReader(bytes.NewReader(body))
	if compressed {
		src.EnableCompression()
	}
	var blocks proto.Buffer
	for {
		_, err := recode(src, 0, &blocks, 0)
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	_, err := in.run(e, c, blocks.Buf)
	return err
}

func (e *engine) answer(w http.ResponseWriter, r *http.Request, c *connection, statement string, params map[string]string) error {
	q := r.URL.Query()
	format := q.Get("default_format")
	if format == "" {
		format = "TabSeparated"
	}
	out, _, err := c.run(statement, format, params)
	if err != nil {
		return err
	}
	w.Header().Set("X-ClickHouse-Format", format)
	if format != "Native" {
		_, err := w.Write(out)
		return err
	}
	rev, _ := strconv.Atoi(q.Get("client_protocol_version")) // 0 without one
	var answer bytes.Buffer
	lz4 := compress.NewWriter(compress.LevelZero, compress.LZ4)
	err = recodeResult(out, min(rev, revision), func(b *proto.Buffer) error {
		if q.Get("compress") != "1" {
			_, err := answer.Write(b.Buf)
			return err
		}
		if err := lz4.Compress(b.Buf); err != nil {
			return err
		}
		_, err := answer.Write(lz4.Data)
		return err
	})
	if err != nil {
		return err
	}
	_, err = w.Write(answer.Bytes())
	return err
}
