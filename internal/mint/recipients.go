package mint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/token"
)

// Stream is one exchange of recipients: a line of JSON in for each person, a line out.
type Stream struct {
	In  io.Reader
	Out io.Writer
	// Flush sends what was written on its way; nil where there is nothing to do.
	Flush func() error
	// Interrupt makes a Read of In under way, and later ones, return soon. It is called at most
	// twice. nil where reads return by themselves.
	Interrupt func()
}

// Summary counts the lines of a stream.
type Summary struct {
	Lines  uint64 // lines read, blank ones too
	Minted uint64 // people
	Bad    uint64 // lines answered with an error
}

// writeSize is about how much is written at a time, pieceSize the most that is worked on at once.
const (
	writeSize = 128 << 10
	pieceSize = MaxLine + pendingSize
)

// Recipients mints for a stream of people. Each line that is not blank is answered by one line, in
// order: what the person's mail carries, or {"line":N,"error":...} for a line that can't be used,
// and the stream goes on. The people of a piece stand in the population before their lines are
// written, so whoever can be sent mail is counted in its reach.
//
// It returns once In ended and nothing of it runs any more. The error is campaign.ErrNotFound before
// anything was written, or what cut the stream short: ctx, In, Out or the population's store. In
// the last case a line that says so was written. Memory is bounded, whatever In holds.
func (m *Minter) Recipients(ctx context.Context, name string, s Stream) (Summary, error) {
	c, hash, err := m.campaign(name)
	if err != nil {
		return Summary{}, err
	}
	if s.Interrupt != nil {
		defer context.AfterFunc(ctx, s.Interrupt)()
	}
	f := newFeed(s.In)
	defer f.stop(s.Interrupt)

	b := &bulk{m: m, s: s, shape: m.shape(c, m.o.Campaigns.Links(c.Number)), hash: hash, number: c.Number, dateOnly: c.DateOnly}
	in := make([]byte, 0, pieceSize)
	for {
		in, err = f.take(in)
		if ctx.Err() != nil {
			return b.sum, fmt.Errorf("mint for recipients: %w", context.Cause(ctx))
		}
		rest := b.cut(in, err != nil)
		if werr := b.answer(ctx); werr != nil {
			return b.sum, werr
		}
		in = append(in[:0], rest...)
		if errors.Is(err, io.EOF) {
			return b.sum, nil
		}
		if err != nil {
			return b.sum, fmt.Errorf("read the recipients: %w", err)
		}
	}
}

// errKeyGone says that the key of the campaign's people was destroyed while it was minted for.
var errKeyGone = fmt.Errorf("the campaign's key: %w", campaign.ErrNotFound)

// bulk is the state of one stream.
type bulk struct {
	m        *Minter
	s        Stream
	shape    *shape
	hash     *aggregate.Hasher
	number   uint32
	dateOnly bool // of the campaign
	sum      Summary

	skipping bool   // inside of a line that is too long and was answered already
	work     []line // of the piece at hand; they point into it
	people   []aggregate.Population
	out      []byte
}

// line is one line of input, understood.
type line struct {
	plan
	number uint64
	raw    []byte // the address as a JSON string
	err    error
}

// cut takes the whole lines out of in and returns the rest, which is shorter than a line may be.
// At the end of the stream the rest is a line too.
func (b *bulk) cut(in []byte, end bool) (rest []byte) {
	b.work = b.work[:0]
	for len(in) > 0 {
		i := bytes.IndexByte(in, '\n')
		text, next := in, in[len(in):]
		if i >= 0 {
			text, next = in[:i], in[i+1:]
		}
		whole := i >= 0 || end
		if !whole && len(text) <= MaxLine {
			if b.skipping {
				return nil
			}
			return text
		}
		b.read(text, whole)
		in = next
	}
	return nil
}

// read understands one line; or the beginning of one that is too long, where whole is false.
func (b *bulk) read(text []byte, whole bool) {
	if b.skipping {
		b.skipping = !whole
		return
	}
	b.sum.Lines++
	l := line{number: b.sum.Lines}
	if len(text) > MaxLine {
		l.err = errLineLong
		b.skipping = !whole
	} else if isBlank(text) {
		return
	} else {
		var address []byte
		if l.raw, address, l.err = parseLine(text); l.err == nil {
			l.plan, l.err = b.m.person(string(address), b.dateOnly)
		}
	}
	b.work = append(b.work, l)
}

// answer notes the people at hand in the population and then writes their lines.
func (b *bulk) answer(ctx context.Context) error {
	if len(b.work) == 0 {
		return nil
	}
	if err := b.note(ctx); err != nil {
		err = fmt.Errorf("note the population: %w", err)
		b.out = appendError(b.out[:0], b.work[0].number, errors.New("nothing was minted from this line on: the server could not note who is sent the campaign; send these lines again"))
		return errors.Join(err, b.write(0), b.flush())
	}
	for i := range b.work {
		l := &b.work[i]
		if l.err != nil {
			b.sum.Bad++
			b.out = appendError(b.out, l.number, l.err)
		} else {
			b.sum.Minted++
			b.out = b.shape.append(b.out, l)
		}
		if err := b.write(writeSize); err != nil {
			return err
		}
	}
	if err := b.write(0); err != nil {
		return err
	}
	return b.flush()
}

// note adds the people at hand to the store.
func (b *bulk) note(ctx context.Context) error {
	for i := range b.people {
		b.people[i].Hashes = b.people[i].Hashes[:0]
	}
	for i := range b.work {
		l := &b.work[i]
		if l.err != nil {
			continue
		}
		hash, ok := b.hash.Hash(b.number, l.subject)
		if !ok {
			return errKeyGone
		}
		p := b.population(l.member())
		p.Hashes = append(p.Hashes, hash)
	}
	var some []aggregate.Population
	for _, p := range b.people {
		if len(p.Hashes) > 0 {
			some = append(some, p)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return b.m.o.Population.AddPopulation(ctx, some)
}

// population is where people of one membership are gathered; there are a dozen at most.
func (b *bulk) population(of aggregate.Member) *aggregate.Population {
	for i := range b.people {
		if b.people[i].Member == of {
			return &b.people[i]
		}
	}
	b.people = append(b.people, aggregate.Population{Campaign: b.number, Member: of})
	return &b.people[len(b.people)-1]
}

// write writes what is ready, if it is at least so many bytes.
func (b *bulk) write(least int) error {
	if len(b.out) < least || len(b.out) == 0 {
		return nil
	}
	_, err := b.s.Out.Write(b.out)
	b.out = b.out[:0]
	if err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	return nil
}

func (b *bulk) flush() error {
	if b.s.Flush == nil {
		return nil
	}
	if err := b.s.Flush(); err != nil {
		return fmt.Errorf("write to the client: %w", err)
	}
	return nil
}

func appendError(dst []byte, number uint64, err error) []byte {
	dst = append(dst, `{"line":`...)
	dst = strconv.AppendUint(dst, number, 10)
	dst = append(dst, `,"error":`...)
	dst = appendJSON(dst, err.Error())
	return append(dst, "}\n"...)
}

// shape is what all answers of a campaign have in common, as pieces of JSON.
type shape struct {
	ring   Ring
	number uint32
	pixel  []byte // ,"pixel_url":"https://host/o/
	leave  []byte // ,"unsubscribe_url":"https://host/u/
	links  []shapeLink
}

type shapeLink struct {
	number uint16
	before []byte // "7":"https://host/c/
}

func (m *Minter) shape(c campaign.Campaign, links []campaign.Link) *shape {
	quoted := appendJSON(nil, m.o.PublicURL)
	base := string(quoted[1 : len(quoted)-1])
	s := &shape{
		ring: m.o.Ring, number: c.Number,
		pixel: []byte(`,"pixel_url":"` + base + "/o/"),
		leave: []byte(`,"unsubscribe_url":"` + base + "/u/"),
		links: make([]shapeLink, 0, len(links)),
	}
	for i := range links {
		n := links[i].Number
		s.links = append(s.links, shapeLink{n, []byte(`"` + strconv.Itoa(int(n)) + `":"` + base + "/c/")})
	}
	return s
}

// append writes a person's line. It allocates nothing where dst has room.
func (s *shape) append(dst []byte, l *line) []byte {
	dst = append(dst, `{"to":`...)
	dst = append(dst, l.raw...)
	if l.named() {
		dst = append(dst, `,"subject":"`...)
		dst = appendHex(dst, l.subject)
		dst = append(dst, '"')
	}
	if l.measured(l.opens) {
		dst = append(dst, s.pixel...)
		dst = s.ring.Append(dst, token.Open, token.Claims{Campaign: s.number, Subject: l.carried(l.opens)})
		dst = append(dst, `.gif"`...)
	}
	dst = append(dst, s.leave...)
	dst = s.ring.Append(dst, token.Preferences, token.Claims{Campaign: s.number, Subject: l.subject})
	dst = append(dst, `","links":{`...)
	if l.measured(l.clicks) {
		claims := token.Claims{Campaign: s.number, Subject: l.carried(l.clicks)}
		for i := range s.links {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, s.links[i].before...)
			claims.Link = s.links[i].number
			dst = s.ring.Append(dst, token.Click, claims)
			dst = append(dst, '"')
		}
	}
	return append(appendTracking(append(dst, `},"tracking":`...), l.tracking()), "}\n"...)
}

func appendTracking(dst []byte, t Tracking) []byte {
	dst = append(dst, `{"opens":`...)
	dst = strconv.AppendBool(dst, t.Opens)
	dst = append(dst, `,"clicks":`...)
	dst = strconv.AppendBool(dst, t.Clicks)
	if t.Reason != "" {
		dst = append(dst, `,"reason":"`...)
		dst = append(dst, t.Reason...)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

func appendHex(dst []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
	}
	return dst
}
