package control_test

import (
	"testing"

	"go.uber.org/goleak"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryConforms(t *testing.T) {
	t.Parallel()
	controltest.Run(t, controltest.Backend{
		Open:     func(*testing.T, string) control.Log { return control.NewMemory() },
		Volatile: true,
	})
}
