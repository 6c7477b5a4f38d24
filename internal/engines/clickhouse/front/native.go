//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// serveNative answers the native protocol until the listener is closed.
func (e *engine) serveNative(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			n := &native{engine: e, conn: conn, r: proto.NewReader(conn)}
			if err := n.serve(); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				slog.Warn("a native connection broke", "error", err)
			}
		}()
	}
}

// native is one connection.
type native struct {
	*engine
	conn     net.Conn
	r        *proto.Reader
	b        proto.Buffer
	rev      int
	user     string
	database string
	compress *compress.Writer // nil: blocks are not compressed
}

func (n *native) flush() error {
	_, err := n.conn.Write(n.b.Buf)
	n.b.Reset()
	return err
}

// serve answers until the connection ends, and says how it did.
func (n *native) serve() error {
	if err := n.hello(); err != nil {
		return err
	}
	for {
		code, err := n.r.UVarInt()
		if err != nil {
			return err
		}
		switch proto.ClientCode(code) {
		case proto.ClientCodePing:
			proto.ServerCodePong.Encode(&n.b)
			err = n.flush()
		case proto.ClientCodeQuery:
			err = n.query()
		case proto.ClientCodeCancel: // the query is over already: they run one after the other
		default:
			err = fmt.Errorf("packet %d is not known", code)
		}
		if err != nil {
			return err
		}
	}
}

func (n *native) hello() error {
	code, err := n.r.UVarInt()
	if err != nil {
		return err
	}
	if proto.ClientCode(code) != proto.ClientCodeHello {
		return fmt.Errorf("packet %d instead of a hello", code)
	}
	var h proto.ClientHello
	if err := h.Decode(n.r); err != nil {
		return err
	}
	n.rev, n.user, n.database = min(h.ProtocolVersion, revision), h.User, h.Database
	if err := n.admit(h.User, h.Password); err != nil {
		return n.fail(err)
	}
	c, err := n.session(n.user, n.database, nil) // does the database exist?
	if err != nil {
		return n.fail(err)
	}
	n.release(c, "")
	answer := proto.ServerHello{Name: "ClickHouse", DisplayName: "mailbeacon test engine", Revision: revision, Timezone: n.timezone}
	// What is no number stays 0.
	_, _ = fmt.Sscanf(n.version, "%d.%d.%d", &answer.Major, &answer.Minor, &answer.Patch)
	answer.EncodeAware(&n.b, n.rev)
	if err := n.flush(); err != nil {
		return err
	}
	if proto.FeatureAddendum.In(n.rev) {
		_, err = n.r.Str() // a quota key
	}
	return err
}

// fail tells the client of an error; the connection goes on.
func (n *native) fail(err error) error {
	e := parseException(err.Error())
	proto.ServerCodeException.Encode(&n.b)
	x := proto.Exception{Code: proto.Error(e.code), Name: "DB::Exception", Message: "DB::Exception: " + e.text}
	x.EncodeAware(&n.b, n.rev)
	return n.flush()
}

func (n *native) done() error {
	proto.ServerCodeEndOfStream.Encode(&n.b)
	return n.flush()
}

func (n *native) data(block *proto.Buffer) error {
	proto.ServerCodeData.Encode(&n.b)
	n.b.PutString("") // of no temporary table
	body := block.Buf
	if n.compress != nil {
		if err := n.compress.Compress(body); err != nil {
			return err
		}
		body = n.compress.Data
	}
	n.b.PutRaw(body)
	return n.flush()
}

// receive reads a block of the client and appends it to b as the engine reads it.
func (n *native) receive(b *proto.Buffer) (block, error) {
	code, err := n.r.UVarInt()
	if err != nil {
		return block{}, err
	}
	if proto.ClientCode(code) != proto.ClientCodeData {
		return block{}, fmt.Errorf("packet %d instead of data", code)
	}
	if _, err := n.r.Str(); err != nil {
		return block{}, err
	}
	if n.compress != nil {
		n.r.EnableCompression()
		defer n.r.DisableCompression()
	}
	return recode(n.r, n.rev, b, 0)
}

func (n *native) query() error {
	var q proto.Query
	if err := q.DecodeAware(n.r, n.rev); err != nil {
		return err
	}
	n.compress = nil
	if q.Compression == proto.CompressionEnabled {
		n.compress = compress.NewWriter(compress.LevelZero, compress.LZ4)
	}
	if end, err := n.receive(new(proto.Buffer)); err != nil || end.columns > 0 {
		return errors.Join(err, errors.New("temporary tables are not supported"))
	}
	settings, params := map[string]string{}, map[string]string{}
	for _, s := range q.Settings {
		settings[s.Key] = s.Value
	}
	for _, p := range q.Parameters {
		params[p.Key] = unquote(p.Value)
	}
	c, err := n.session(n.user, n.database, settings)
	if err != nil {
		return n.fail(err)
	}
	defer n.release(c, q.Body)
	in, err := parseInsert(c, q.Body)
	switch {
	case err != nil:
		return n.fail(err)
	case in != nil:
		return n.insert(c, in)
	}
	return n.run(c, q.Body, params)
}

func (n *native) run(c *connection, statement string, params map[string]string) error {
	out, _, err := c.run(statement, "Native", params)
	if err != nil {
		return n.fail(err)
	}
	if len(out) == 0 && isQuery(statement) {
		columns, err := header(c, statement, params)
		if err != nil {
			return n.fail(err)
		}
		if err := n.data(headerBlock(columns, n.rev)); err != nil {
			return err
		}
	}
	if err := recodeResult(out, n.rev, n.data); err != nil {
		return err
	}
	return n.done()
}

func (n *native) insert(c *connection, in *insert) error {
	if err := n.data(headerBlock(in.columns, n.rev)); err != nil {
		return err
	}
	var blocks proto.Buffer
	rows := 0
	for {
		at := len(blocks.Buf)
		got, err := n.receive(&blocks)
		if err != nil {
			return err // without the end of the data nothing is inserted
		}
		if got.rows == 0 {
			blocks.Buf = blocks.Buf[:at]
		}
		rows += got.rows
		if got.columns == 0 {
			break
		}
	}
	if rows > 0 {
		if _, err := in.run(n.engine, c, blocks.Buf); err != nil {
			return n.fail(err)
		}
	}
	return n.done()
}

// unquote takes the quotes of a parameter off.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return s
	}
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\n`, "\n", `\t`, "\t", `\r`, "\r", `\0`, "\x00").Replace(s[1 : len(s)-1])
}
