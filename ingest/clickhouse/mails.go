package clickhouse

import (
	"context"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// PutMail implements aggregate.Mails.
func (s *Store) PutMail(ctx context.Context, campaign uint32, html []byte) error {
	if err := s.insert(ctx, "mail_put", mailRow{campaign, html}, ""); err != nil {
		return s.failed(err, "keep the mail of campaign %d", campaign)
	}
	return nil
}

type mailRow struct {
	campaign uint32
	html     []byte
}

func (r mailRow) columns() []any { return []any{[]uint32{r.campaign}, []string{string(r.html)}} }

// Mail implements aggregate.Mails.
func (s *Store) Mail(ctx context.Context, campaign uint32) (html []byte, err error) {
	err = s.each(s.sequential(ctx), "mail_get", []any{clickhouse.Named("campaign", campaign)}, func(rows driver.Rows) error {
		var text string
		err := rows.Scan(&text)
		html = []byte(text)
		return err
	})
	if err != nil {
		return nil, s.failed(err, "read the mail of campaign %d", campaign)
	}
	return html, nil
}
