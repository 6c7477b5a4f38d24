//go:build linux

package main

import (
	"bytes"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
)

func TestParseException(t *testing.T) {
	t.Parallel()
	for msg, want := range map[string]exception{
		"Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)":          {60, "Unknown table. (UNKNOWN_TABLE)"},
		"Code: 62. DB::Exception: Code: 62. DB::Exception: Syntax error\n": {62, "Syntax error"},
		"something else": {1001, "something else"},
	} {
		if got := parseException(msg); *got != want {
			t.Errorf("%q: %+v, want %+v", msg, *got, want)
		}
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ insert, query bool }{
		"INSERT INTO t FORMAT Native":                   {insert: true},
		"insert into db.t (a, b)\nVALUES ;":             {insert: true},
		"INSERT INTO t (a) VALUES (1)":                  {},
		"INSERT INTO t (a) SELECT 1":                    {},
		"SELECT 1":                                      {query: true},
		"-- why\n/* and\nwhy */ (WITH 1 AS x SELECT x)": {query: true},
		"CREATE TABLE t AS SELECT 1":                    {},
		"SELECTED":                                      {},
	} {
		if got := insertion.MatchString(text); got != want.insert {
			t.Errorf("%q: insert %v", text, got)
		}
		if got := isQuery(text); got != want.query {
			t.Errorf("%q: query %v", text, got)
		}
	}
	for typ, want := range map[string]string{
		"SimpleAggregateFunction(max, Tuple(a UInt64, b UInt8))": "Tuple(a UInt64, b UInt8)", "SimpleAggregateFunction(sum, UInt64)": "UInt64", "UInt8": "UInt8",
	} {
		if got := plainType(typ); got != want {
			t.Errorf("%s: %s, want %s", typ, got, want)
		}
	}
	if got := unquote(`'it\'s\ta\\b'`); got != "it's\ta\\b" {
		t.Errorf("%q", got)
	}
}

// A block goes from the client's revision to the engine's and back without a change.
func TestRecode(t *testing.T) {
	t.Parallel()
	str, nums, kind := new(proto.ColStr), new(proto.ColUInt64).Array(), new(proto.ColUInt64)
	for i := range 3 {
		str.Append("text")
		nums.Append(make([]uint64, i))
		kind.Append(uint64(i))
	}
	var client, engine, back proto.Buffer
	columns := []proto.InputColumn{{Name: "s", Data: str}, {Name: "a", Data: nums}, {Name: "n", Data: kind}}
	err := proto.Block{Info: proto.BlockInfo{BucketNum: -1}, Columns: 3, Rows: 3}.EncodeBlock(&client, revision, columns)
	if err != nil {
		t.Fatal(err)
	}
	got, err := recode(proto.NewReader(bytes.NewReader(client.Buf)), revision, &engine, 0)
	if err != nil || got != (block{3, 3}) {
		t.Fatal(got, err)
	}
	if err := recodeResult(engine.Buf, revision, func(b *proto.Buffer) error { back.PutRaw(b.Buf); return nil }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Buf, client.Buf) {
		t.Errorf("%x became %x", client.Buf, back.Buf)
	}
	// Half a block is an error, and no end.
	if err := recodeResult(engine.Buf[:len(engine.Buf)-1], revision, func(*proto.Buffer) error { return nil }); err == nil {
		t.Error("half a block was taken for a whole one")
	}
}
