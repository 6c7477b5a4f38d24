// Package proctest holds the tests that run the real binary as its users do: started, loaded,
// killed, stopped, and given folders that are not what they should be. There is nothing in it but
// tests.
//
// Variables make the long forms: MAILBEACON_KILLS is how often TestKill kills, MAILBEACON_SOAK how
// long TestSoak loads.
package proctest
