package kafka

import (
	"testing"

	"mailbeacon/internal/control"
	"mailbeacon/internal/control/controltest"
)

func TestControlLogConforms(t *testing.T) {
	t.Parallel()
	controltest.Run(t, controltest.Backend{Open: func(t *testing.T, place string) control.Log {
		k := sharedClient(t)
		topic := ensure(t, k, ControlTopic(topicFor(place), 0))
		return OpenControlLog(k, topic.Name, testLogger(t))
	}})
}
