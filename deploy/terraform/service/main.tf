# A Cloud Run service that sends its spans to Spansieve: an account of its own without roles, Direct VPC egress, and named callers.
# The modules of the examples use it.

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
  description = "The project."
  type        = string
}

variable "region" {
  description = "Where the service runs."
  type        = string
}

variable "name" {
  description = "The name of the service and of its account."
  type        = string
}

variable "image" {
  description = "The container image, with its digest."
  type        = string
}

variable "variables" {
  description = "Environment variables beside those of OpenTelemetry."
  type        = map(string)
}

variable "endpoint" {
  description = "The address of Spansieve."
  type        = string
}

variable "protocol" {
  description = "How spans are sent: http/protobuf or grpc."
  type        = string
  default     = "http/protobuf"
}

variable "network" {
  description = "The network for Direct VPC egress."
  type        = string
}

variable "subnet" {
  description = "The subnet for Direct VPC egress."
  type        = string
}

variable "public" {
  description = "Whether requests may come from outside of the network; callers need a token all the same."
  type        = bool
  default     = false
}

variable "callers" {
  description = "Who may call the service, by a name that this configuration knows before it is applied."
  type        = map(string)
  default     = {}
}

variable "http2" {
  description = "Whether the container speaks HTTP/2, as a gRPC server does."
  type        = bool
  default     = false
}

locals {
  telemetry = {
    OTEL_EXPORTER_OTLP_ENDPOINT = "${var.endpoint}:443"
    OTEL_EXPORTER_OTLP_PROTOCOL = var.protocol
    OTEL_TRACES_SAMPLER         = "always_on" # a tail sampler can only keep what it was sent
    OTEL_METRICS_EXPORTER       = "none"
    OTEL_LOGS_EXPORTER          = "none"
    OTEL_PROPAGATORS            = "tracecontext,baggage,gcp_trace"
    OTEL_BSP_SCHEDULE_DELAY     = "1000"
    GOOGLE_CLOUD_PROJECT        = var.project
  }
}

resource "google_service_account" "service" {
  project      = var.project
  account_id   = var.name
  display_name = var.name
}

resource "google_cloud_run_v2_service" "service" {
  project             = var.project
  name                = var.name
  location            = var.region
  ingress             = var.public ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = false

  template {
    service_account = google_service_account.service.email

    scaling {
      max_instance_count = 3
    }

    # Requests to *.run.app leave through the network, so that they come in as internal ones.
    vpc_access {
      egress = "ALL_TRAFFIC"
      network_interfaces {
        network    = var.network
        subnetwork = var.subnet
      }
    }

    containers {
      image = var.image

      ports {
        name           = var.http2 ? "h2c" : "http1"
        container_port = 8080
      }

      resources {
        limits   = { cpu = "1", memory = "512Mi" }
        cpu_idle = false # spans are sent between requests, which needs the CPU then
      }

      dynamic "env" {
        for_each = merge(local.telemetry, var.variables)
        content {
          name  = env.key
          value = env.value
        }
      }
    }
  }
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = var.callers
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.service.name
  role     = "roles/run.invoker"
  member   = each.value
}

output "uri" {
  description = "The address of the service."
  value       = google_cloud_run_v2_service.service.uri
}

output "member" {
  description = "The account of the service, as a caller of others."
  value       = google_service_account.service.member
}
