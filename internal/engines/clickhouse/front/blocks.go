//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// revision is the protocol that the front speaks, the newest one whose blocks ch-go knows.
const revision = 54460

// block is what was read of one: its size, and its columns where somebody wants them.
type block struct{ columns, rows int }

// recode reads one block of one revision of the protocol and appends it to b in another. Revision 0
// is the Native format as the engine reads and writes it. It returns io.EOF where there is no block.
func recode(r *proto.Reader, from int, b *proto.Buffer, to int) (block, error) {
	if proto.FeatureBlockInfo.In(from) {
		var info proto.BlockInfo
		if err := info.Decode(r); err != nil {
			return block{}, err
		}
	}
	columns, err := r.Int()
	if err != nil {
		return block{}, err
	}
	rows, err := r.Int()
	if err != nil {
		return block{}, unexpected(err)
	}
	startBlock(b, to, columns, rows)
	for range columns {
		if err := recodeColumn(r, from, b, to, rows); err != nil {
			return block{}, unexpected(err)
		}
	}
	return block{columns, rows}, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func startBlock(b *proto.Buffer, to, columns, rows int) {
	proto.Block{Info: proto.BlockInfo{BucketNum: -1}, Columns: columns, Rows: rows}.EncodeAware(b, to)
}

func startColumn(b *proto.Buffer, to int, name, typ string) {
	b.PutString(name)
	b.PutString(typ)
	if proto.FeatureCustomSerialization.In(to) {
		b.PutBool(false)
	}
}

func recodeColumn(r *proto.Reader, from int, b *proto.Buffer, to, rows int) error {
	name, err := r.Str()
	if err != nil {
		return err
	}
	typ, err := r.Str()
	if err != nil {
		return err
	}
	if proto.FeatureCustomSerialization.In(from) {
		custom, err := r.Bool()
		if err != nil {
			return err
		}
		if custom {
			return fmt.Errorf("column %s comes in a serialisation of its own", name)
		}
	}
	startColumn(b, to, name, typ)
	if rows == 0 {
		return nil
	}
	var col proto.ColAuto
	if err := col.Infer(proto.ColumnType(plainType(typ))); err != nil {
		return fmt.Errorf("the front does not know the type of column %s: %w", name, err)
	}
	if s, ok := col.Data.(proto.StateDecoder); ok {
		if err := s.DecodeState(r); err != nil {
			return err
		}
	}
	if err := col.Data.DecodeColumn(r, rows); err != nil {
		return fmt.Errorf("column %s: %w", name, err)
	}
	if s, ok := col.Data.(proto.StateEncoder); ok {
		s.EncodeState(b)
	}
	col.Data.EncodeColumn(b)
	return nil
}

// plainType is the type whose values are on the wire: SimpleAggregateFunction(sum, UInt64) is UInt64.
func plainType(typ string) string {
	if inner, ok := strings.CutPrefix(typ, "SimpleAggregateFunction("); ok {
		if _, value, ok := strings.Cut(strings.TrimSuffix(inner, ")"), ", "); ok {
			return value
		}
	}
	return typ
}

// recodeResult gives every block of the engine's output in the revision of the client.
func recodeResult(out []byte, to int, emit func(*proto.Buffer) error) error {
	r := proto.NewReader(bytes.NewReader(out))
	for {
		var b proto.Buffer
		switch _, err := recode(r, 0, &b, to); {
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		if err := emit(&b); err != nil {
			return err
		}
	}
}

// headerBlock is a block without rows.
func headerBlock(columns []column, to int) *proto.Buffer {
	var b proto.Buffer
	startBlock(&b, to, len(columns), 0)
	for _, c := range columns {
		startColumn(&b, to, c.name, c.typ)
	}
	return &b
}
