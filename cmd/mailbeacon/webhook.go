package main

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"mailbeacon/internal/config"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/webhook"
)

// webhookFile notes in the data folder up to where the mailer was told who left.
const webhookFile = "webhook.position"

// newWebhook is nil where none is set.
func newWebhook(cfg *config.Config, dir *datadir.Dir, state *state, logger *slog.Logger) (*webhook.Sender, error) {
	switch {
	case cfg.Webhook == "" && cfg.WebhookSecret == "":
		return nil, nil
	case cfg.Webhook == "":
		return nil, usage(&config.Error{Setting: "webhook", Source: "--webhook", Reason: "is not set, and --webhook-secret is; right would be both, or neither"})
	case cfg.WebhookSecret == "":
		return nil, usage(&config.Error{Setting: "webhook-secret", Source: "--webhook-secret", Reason: "is not set, and --webhook is: nothing is sent unsigned"})
	}
	secret, err := webhook.ReadSecret(cfg.WebhookSecret)
	if err != nil {
		return nil, fmt.Errorf("setting webhook-secret: %s %w", cfg.WebhookSecret, err)
	}
	return webhook.New(webhook.Options{
		URL: cfg.Webhook, Secret: secret, Ledger: state.consentWriter, Applied: state.follower.Applied,
		Campaign: state.campaigns.NameOf,
		Progress: dir.Path(webhookFile), Logger: logger,
	})
}

// startWebhook runs the sender and measures it, where there is one.
func startWebhook(work *parts, reg *prometheus.Registry, s *webhook.Sender) {
	if s == nil {
		return
	}
	reg.MustRegister(
		counter("webhook_sent_total", "Messages that the receiver took.", nil, one(func() uint64 { return s.Stats().Sent })),
		counter("webhook_failed_total", "Attempts that the receiver did not take; each is made again.", nil, one(func() uint64 { return s.Stats().Failed })),
		gauge("webhook_position", "Position of the control log up to which everything was told.", nil, one(func() uint64 { return uint64(s.Stats().Position) })),
		gauge("webhook_faulty", "1 while messages wait because the receiver does not take them, else 0.", nil, one(func() int {
			if s.Stats().Faulty {
				return 1
			}
			return 0
		})),
	)
	work.Go("tell the mailer who left", s.Run)
}
