# Alert policies and a dashboard of Cloud Monitoring. Written by tools/monitoring.py from docs/runbook.md.
#   terraform init && terraform apply -var project=PROJECT -var 'channels=["projects/PROJECT/notificationChannels/NUMBER"]'

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.33, < 9.0"
    }
  }
}

variable "project" {
  description = "The project with the metrics of Spansieve."
  type        = string
}

variable "channels" {
  description = "The notification channels of the alerts, by their full names."
  type        = list(string)
  default     = []
}

variable "runbook_url" {
  description = "What stands before docs/runbook.md in the links of the alerts."
  type        = string
  default     = ""
}

locals {
  alerts = {
    SpansieveKeptSpansAreBeingLost = {
      summary  = "Kept spans are being lost"
      query    = "sum(increase(spansieve_dropped_spans_total[5m])) > 0"
      minutes  = 0
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#kept-spans-are-being-lost"
    }
    SpansieveAPermissionIsMissing = {
      summary  = "A permission is missing"
      query    = "spansieve_waiting_spans{cause=~\"denied|unauthenticated\"} > 0"
      minutes  = 5
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#a-permission-is-missing"
    }
    SpansieveAQuotaIsUsedUp = {
      summary  = "A quota is used up"
      query    = "spansieve_waiting_spans{cause=\"quota\"} > 0"
      minutes  = 10
      severity = "WARNING"
      runbook  = "docs/runbook.md#a-quota-is-used-up"
    }
    SpansieveCloudTraceDoesNotAnswer = {
      summary  = "Cloud Trace does not answer"
      query    = "sum(rate(spansieve_sink_batches_total{code!=\"OK\"}[5m])) > 0.1 * sum(rate(spansieve_sink_batches_total[5m]))"
      minutes  = 0
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#cloud-trace-does-not-answer"
    }
    SpansieveTheSpoolFills = {
      summary  = "The spool fills"
      query    = "spansieve_spool_bytes > 0.8 * spansieve_spool_limit_bytes"
      minutes  = 5
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#the-spool-fills"
    }
    SpansieveTheSpoolsDiskFails = {
      summary  = "The spool's disk fails"
      query    = "sum(increase(spansieve_spool_faults_total{kind!=\"torn\"}[5m])) > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#the-spools-disk-fails"
    }
    SpansieveTheJournalFills = {
      summary  = "The journal fills"
      query    = "spansieve_journal_bytes > 0.8 * spansieve_journal_limit_bytes"
      minutes  = 5
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#the-journal-fills"
    }
    SpansieveTheJournalsDiskFails = {
      summary  = "The journal's disk fails"
      query    = "sum(increase(spansieve_journal_faults_total{kind!=\"torn\"}[5m])) > 0"
      minutes  = 0
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#the-journals-disk-fails"
    }
    SpansieveSendersAreTurnedAway = {
      summary  = "Senders are turned away"
      query    = "sum by (reason) (increase(spansieve_denied_requests_total[10m])) > 0"
      minutes  = 0
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#senders-are-turned-away"
    }
    SpansieveSendersAreAskedToRetry = {
      summary  = "Senders are asked to retry"
      query    = "sum(increase(spansieve_requests_total{outcome=~\"busy|journal\"}[5m])) > 0"
      minutes  = 0
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#senders-are-asked-to-retry"
    }
    SpansieveSendersWaitForTheProcessor = {
      summary  = "Senders wait for the processor"
      query    = "sum(increase(spansieve_requests_total{outcome=\"overloaded\"}[5m])) > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#senders-wait-for-the-processor"
    }
    SpansieveASenderSendsBadRequests = {
      summary  = "A sender sends bad requests"
      query    = "sum by (protocol, outcome) (rate(spansieve_requests_total{outcome=~\"invalid|too_large|unsupported\"}[5m])) > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#a-sender-sends-bad-requests"
    }
    SpansieveNothingComesIn = {
      summary  = "Nothing comes in"
      query    = "sum(rate(spansieve_received_spans_total[10m])) == 0"
      minutes  = 0
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#nothing-comes-in"
    }
    SpansieveTheDaemonIsNotScraped = {
      summary  = "The daemon is not scraped"
      query    = "absent(spansieve_build_info)"
      minutes  = 5
      severity = "CRITICAL"
      runbook  = "docs/runbook.md#the-daemon-is-not-scraped"
    }
    SpansieveAServiceLosesSpans = {
      summary  = "A service loses spans"
      query    = "sum by (service) (rate(spansieve_incomplete_traces_total{parent=\"local\"}[15m])) > on () group_left () (0.01 * sum(rate(spansieve_decided_traces_total[15m])))"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#a-service-loses-spans"
    }
    SpansieveSpansComeTooLate = {
      summary  = "Spans come too late"
      query    = "sum(rate(spansieve_service_late_spans_total[15m])) > 0.02 * sum(rate(spansieve_service_spans_total[15m]))"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#spans-come-too-late"
    }
    SpansieveMemoryIsNearlyFull = {
      summary  = "Memory is nearly full"
      query    = "spansieve_held_bytes > 0.9 * spansieve_memory_limit_bytes"
      minutes  = 5
      severity = "WARNING"
      runbook  = "docs/runbook.md#memory-is-nearly-full"
    }
    SpansieveTracesAreDecidedEarly = {
      summary  = "Traces are decided early"
      query    = "sum(increase(spansieve_decided_traces_total{trigger=\"pressure\"}[5m])) > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#traces-are-decided-early"
    }
    SpansieveVerdictsAreForgottenTooSoon = {
      summary  = "Verdicts are forgotten too soon"
      query    = "sum(rate(spansieve_restarted_traces_total[15m])) > 0.001 * sum(rate(spansieve_decided_traces_total[15m]))"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#verdicts-are-forgotten-too-soon"
    }
    SpansieveDecisionsAreLate = {
      summary  = "Decisions are late"
      query    = "histogram_quantile(0.99, sum by (le) (rate(spansieve_decision_lag_seconds_bucket[5m]))) > 1"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#decisions-are-late"
    }
    SpansieveTheFleetsEngineIsAway = {
      summary  = "The fleet's engine is away"
      query    = "spansieve_fleet_members{policies=\"same\"} > 0 unless ignoring (policies) spansieve_fleet_up == 1"
      minutes  = 5
      severity = "WARNING"
      runbook  = "docs/runbook.md#the-fleets-engine-is-away"
    }
    SpansieveMembersOfTheFleetDecideAlone = {
      summary  = "Members of the fleet decide alone"
      query    = "sum(increase(spansieve_decided_traces_total{trigger=\"alone\"}[10m])) / sum(increase(spansieve_decided_traces_total[10m])) > 0.01 unless on () max(spansieve_fleet_up) == 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#members-of-the-fleet-decide-alone"
    }
    SpansieveTheFleetDecidesBeforeItsTime = {
      summary  = "The fleet decides before its time"
      query    = "sum(increase(spansieve_fleet_early_decisions_total[10m])) > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#the-fleet-decides-before-its-time"
    }
    SpansieveTheFleetsEngineRefusesMessages = {
      summary  = "The fleet's engine refuses messages"
      query    = "sum(increase(spansieve_fleet_lost_messages_total{reason=\"refused\"}[10m])) > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#the-fleets-engine-refuses-messages"
    }
    SpansieveProofsOfTheFleetAreGivenUp = {
      summary  = "Proofs of the fleet are given up"
      query    = "sum(increase(spansieve_fleet_lost_messages_total{reason=\"given_up\"}[10m])) > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#proofs-of-the-fleet-are-given-up"
    }
    SpansieveTheCertificateRunsOut = {
      summary  = "The certificate runs out"
      query    = "spansieve_certificate_expiry_timestamp_seconds > 0 and spansieve_certificate_expiry_timestamp_seconds < time() + 7 * 86400"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#the-certificate-runs-out"
    }
    SpansieveARenewedFileIsNotTaken = {
      summary  = "A renewed file is not taken"
      query    = "increase(spansieve_reloads_total{outcome=\"failed\"}[10m]) > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#a-renewed-file-is-not-taken"
    }
    SpansieveTheSamplersCountsAreWrong = {
      summary  = "The sampler's counts are wrong"
      query    = "abs(sum(increase(spansieve_adjusted_calls_total[1d])) / (sum(increase(spansieve_calls_total[1d])) - sum(increase(spansieve_unrepresented_calls_total[1d]))) - 1) > 0.1 and sum(increase(spansieve_adjusted_calls_total[1d])) > 100000"
      minutes  = 60
      severity = "WARNING"
      runbook  = "docs/runbook.md#the-samplers-counts-are-wrong"
    }
    SpansieveSpansHaveNoSeries = {
      summary  = "Spans have no series"
      query    = "sum(increase(spansieve_span_metrics_overflow_calls_total[30m])) / sum(increase(spansieve_calls_total[30m])) > 0.01"
      minutes  = 30
      severity = "WARNING"
      runbook  = "docs/runbook.md#spans-have-no-series"
    }
    SpansieveAChangedConfigurationIsNotTaken = {
      summary  = "A changed configuration is not taken"
      query    = "spansieve_config_rejected > 0"
      minutes  = 0
      severity = "WARNING"
      runbook  = "docs/runbook.md#a-changed-configuration-is-not-taken"
    }
  }
}

resource "google_monitoring_alert_policy" "spansieve" {
  for_each              = local.alerts
  project               = var.project
  display_name          = "Spansieve: ${each.value.summary}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = var.channels

  conditions {
    display_name = each.value.summary
    condition_prometheus_query_language {
      query               = each.value.query
      duration            = "${each.value.minutes * 60}s"
      evaluation_interval = "60s"
      rule_group          = "spansieve"
      alert_rule          = each.key
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "What to do: ${var.runbook_url}${each.value.runbook}"
  }
}

resource "google_monitoring_dashboard" "spansieve" {
  project        = var.project
  dashboard_json = file("${path.module}/../dashboard.cloud-monitoring.json")
}
