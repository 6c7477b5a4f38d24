//go:build linux

package main

import (
	"regexp"
	"strconv"
	"strings"
)

// exception is an error of the engine, with its number.
type exception struct {
	code int
	text string // without "Code: N. DB::Exception: "
}

func (e *exception) Error() string {
	return "Code: " + strconv.Itoa(e.code) + ". DB::Exception: " + e.text
}

var exceptionHead = regexp.MustCompile(`^Code: (\d+)\. DB::Exception: `)

// parseException takes the engine's message apart; it repeats the head at times.
func parseException(msg string) *exception {
	e := &exception{code: 1001, text: strings.TrimSpace(msg)}
	for {
		m := exceptionHead.FindStringSubmatch(e.text)
		if m == nil {
			return e
		}
		e.code, _ = strconv.Atoi(m[1]) // digits
		e.text = e.text[len(m[0]):]
	}
}

// status is the HTTP status that a server answers an exception with, as far as clients look at it.
func (e *exception) status() int {
	switch e.code {
	case 60, 81: // no such table, no such database
		return 404
	case 62, 115, 395: // syntax, setting, throwIf
		return 400
	case 164, 497, 516: // read-only, no rights, wrong password
		return 403
	}
	return 500
}
