package sqlite

import (
	"context"
	"database/sql"
	"errors"
)

// PutMail implements aggregate.Mails.
func (s *Counts) PutMail(ctx context.Context, campaign uint32, html []byte) error {
	err := s.d.update(ctx, func(t *tx) error {
		if html == nil {
			html = []byte{} // what is empty is not missing
		}
		_, err := t.query("mail_put").ExecContext(context.WithoutCancel(ctx), campaign, html)
		return err
	})
	if err != nil {
		return s.failed(err, "keep the mail of campaign %d", campaign)
	}
	return nil
}

// Mail implements aggregate.Mails.
func (s *Counts) Mail(ctx context.Context, campaign uint32) (html []byte, err error) {
	err = s.d.read("mail_get").QueryRowContext(ctx, campaign).Scan(&html)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, s.failed(err, "read the mail of campaign %d", campaign)
	}
	return html, nil
}
