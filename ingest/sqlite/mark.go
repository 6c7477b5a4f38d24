package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"mailbeacon/internal/control"
)

// ControlMark is the highest position of the control log that MarkControl was told of, 0 at first.
func (s *Counts) ControlMark(ctx context.Context) (control.Position, error) {
	var at int64
	err := s.d.read("control_mark_get").QueryRowContext(ctx).Scan(&at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, s.failed(err, "read the mark of the control log")
	}
	return control.Position(at), nil
}

// MarkControl notes that the control log holds a position; one before the mark changes nothing.
func (s *Counts) MarkControl(ctx context.Context, at control.Position) error {
	err := s.d.update(ctx, func(t *tx) error {
		_, err := t.query("control_mark_put").ExecContext(context.WithoutCancel(ctx), int64(at))
		return err
	})
	if err != nil {
		return s.failed(err, "mark the control log")
	}
	return nil
}
