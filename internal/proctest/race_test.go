//go:build race

package proctest

func init() { raceDetector = true }
