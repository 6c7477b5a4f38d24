// Package consenttest says what people may rely on when they refuse, and checks histories for it.
package consenttest

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTime bounds the search for an order.
const checkTime = time.Minute

// Change is a decision of a person that stands in the log.
type Change struct {
	Person   int
	Refuse   bool   // or granted
	Position uint64 // 0: it was not recorded, since it said what stood already
	// Call is when it was asked for, Return when it was called effective; the history's end if it never was.
	Call, Return time.Duration
}

// Counted is something that a person did, and that was counted. What was not counted is always right.
type Counted struct {
	Person int
	// Call is when it was asked for, Return when it was answered, or it became certain that it would not be.
	Call, Return time.Duration
}

// Check says with an error that a history is not one of a register for each person, which begins as granted, takes
// the changes in the order of the log, says at some moment what a change said that was not recorded, and was not refused when something
// was done that was counted. So nothing counts that was done from the moment on at which a refusal was called effective, until it was
// granted again.
func Check(changes []Change, counted []Counted) error {
	var history []porcupine.Operation
	for _, c := range changes {
		history = append(history, porcupine.Operation{ClientId: c.Person, Input: c, Call: int64(c.Call), Return: int64(c.Return)})
	}
	for _, c := range counted {
		history = append(history, porcupine.Operation{ClientId: c.Person, Input: c, Call: int64(c.Call), Return: int64(c.Return)})
	}
	if verdict := porcupine.CheckOperationsTimeout(register, history, checkTime); verdict != porcupine.Ok {
		return fmt.Errorf("a history of %d changes and %d counted events is %s", len(changes), len(counted), verdict)
	}
	return nil
}

// held is one person's register.
type held struct {
	refused  bool
	position uint64
}

var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byPerson := map[int][]porcupine.Operation{}
		for _, op := range history {
			byPerson[op.ClientId] = append(byPerson[op.ClientId], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range byPerson {
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() any { return held{} },
	Step: func(state, input, _ any) (bool, any) {
		now := state.(held)
		if c, ok := input.(Change); ok {
			if c.Position == 0 {
				return c.Refuse == now.refused, now
			}
			return c.Position > now.position, held{c.Refuse, c.Position}
		}
		return !now.refused, now
	},
}
