package clickhouse

import (
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
)

var _ consent.Archive = (*Store)(nil)

// End implements consent.Archive.
func (s *Store) End(ctx context.Context) (control.Position, error) {
	var end uint64
	err := s.each(s.sequential(ctx), "ledger_end", nil, func(rows driver.Rows) error { return rows.Scan(&end) })
	if err != nil {
		return 0, s.failed(err, "read the end of the ledger")
	}
	return control.Position(end), nil
}

// Add implements consent.Archive. The people's rows come first and may be left behind by a failure: they
// lead to nothing then, and come again. The entries are one insert, and thereby there wholly or not at all.
func (s *Store) Add(ctx context.Context, entries []control.Entry, subjects [][]uint64) error {
	people := &ledgerPeople{}
	rows := &ledgerRows{}
	for i := range entries {
		e := &entries[i]
		for _, subject := range subjects[i] {
			people.subject = append(people.subject, subject)
			people.position = append(people.position, uint64(e.Position))
		}
		rows.position = append(rows.position, uint64(e.Position))
		rows.key = append(rows.key, e.Key)
		rows.time = append(rows.time, e.Time.UnixMilli())
		rows.body = append(rows.body, string(e.Body))
	}
	if len(people.subject) > 0 {
		if err := s.insert(ctx, "ledger_people_add", people, ""); err != nil {
			return s.failed(err, "add the people of %d entries to the ledger", len(entries))
		}
	}
	if len(entries) > 0 {
		if err := s.insert(ctx, "ledger_add", rows, ""); err != nil {
			return s.failed(err, "add %d entries to the ledger", len(entries))
		}
	}
	return nil
}

type ledgerRows struct {
	position  []uint64
	key, body []string
	time      []int64
}

func (r *ledgerRows) columns() []any { return []any{r.position, r.key, r.time, r.body} }

type ledgerPeople struct{ subject, position []uint64 }

func (r *ledgerPeople) columns() []any { return []any{r.subject, r.position} }

// Of implements consent.Archive.
func (s *Store) Of(ctx context.Context, subject uint64) ([]control.Entry, error) {
	return s.ledger(ctx, "ledger_of", clickhouse.Named("subject", subject))
}

// Read implements consent.Archive.
func (s *Store) Read(ctx context.Context, after control.Position, most int) ([]control.Entry, error) {
	return s.ledger(ctx, "ledger_after", clickhouse.Named("after", uint64(after)), clickhouse.Named("most", uint32(max(most, 0))))
}

func (s *Store) ledger(ctx context.Context, name string, args ...any) (all []control.Entry, err error) {
	err = s.each(s.sequential(ctx), name, args, func(rows driver.Rows) error {
		var position uint64
		var millis int64
		var body string
		e := control.Entry{Record: control.Record{Kind: control.KindConsent}}
		err := rows.Scan(&position, &e.Key, &millis, &body)
		e.Position, e.Time, e.Body = control.Position(position), time.UnixMilli(millis).UTC(), []byte(body)
		all = append(all, e)
		return err
	})
	if err != nil {
		return nil, s.failed(err, "read the ledger")
	}
	return all, nil
}
