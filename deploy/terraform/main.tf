# One Spansieve for a Google Cloud project: docs/deploy-cloud-run.md.
#   terraform init && terraform apply -var project=PROJECT -var region=REGION -var image=IMAGE

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.33, < 9.0" # 6.33 has manual scaling of a service
    }
  }
}

variable "project" {
  description = "The project whose traces are sampled and written."
  type        = string
}

variable "region" {
  description = "Where the instance runs; best where the senders are."
  type        = string
}

variable "image" {
  description = "The container image of Spansieve."
  type        = string
}

variable "config" {
  description = "The configuration file."
  type        = string
  default     = null
  # deploy/cloud-run/config.yaml, if neither is given
}

variable "config_text" {
  description = "The configuration itself, in place of a file."
  type        = string
  default     = null
}

variable "instances" {
  description = "The number of instances. More than one need fleet.url in the configuration: docs/fleet.md."
  type        = number
  default     = 1
}

variable "subnetwork" {
  description = "The subnetwork from which the instances reach the Valkey or Redis of fleet.url (Direct VPC egress); empty: none."
  type        = string
  default     = ""
}

variable "memorystore" {
  description = "The outputs of deploy/terraform/memorystore, if fleet.url in the configuration is $${env:FLEET_URL}: docs/fleet.md."
  type        = object({ url = string, ca = string })
  default     = null
}

variable "gmp_sidecar_image" {
  description = "The image of the Managed Service for Prometheus sidecar; empty: no sidecar."
  type        = string
  default     = ""
}

# The APIs stay enabled when this is destroyed: other things in the project may use them.
resource "google_project_service" "api" {
  for_each           = toset(["run", "cloudtrace", "secretmanager", "iam"])
  project            = var.project
  service            = "${each.value}.googleapis.com"
  disable_on_destroy = false
}

locals {
  sidecar_roles = ["roles/monitoring.metricWriter", "roles/logging.logWriter"]
  fleet_roles   = ["roles/memorystore.dbConnectionUser"]
  roles = concat(
    ["roles/cloudtrace.agent"],
    var.gmp_sidecar_image == "" ? [] : local.sidecar_roles,
    var.memorystore == null ? [] : local.fleet_roles,
  )
}

resource "google_service_account" "spansieve" {
  project      = var.project
  account_id   = "spansieve"
  display_name = "Spansieve"
  depends_on   = [google_project_service.api]
}

resource "google_project_iam_member" "spansieve" {
  for_each = toset(local.roles)
  project  = var.project
  role     = each.value
  member   = google_service_account.spansieve.member
}

resource "google_secret_manager_secret" "config" {
  project   = var.project
  secret_id = "spansieve-config"
  replication {
    auto {}
  }
  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_version" "config" {
  secret      = google_secret_manager_secret.config.id
  secret_data = coalesce(var.config_text, file(coalesce(var.config, "${path.module}/../cloud-run/config.yaml")))
}

resource "google_secret_manager_secret_iam_member" "config" {
  secret_id = google_secret_manager_secret.config.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.spansieve.member
}

# The authorities are no secret; this is how a file comes into a container.
resource "google_secret_manager_secret" "fleet_ca" {
  count     = var.memorystore == null ? 0 : 1
  project   = var.project
  secret_id = "spansieve-fleet-ca"
  replication {
    auto {}
  }
  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_version" "fleet_ca" {
  count       = var.memorystore == null ? 0 : 1
  secret      = google_secret_manager_secret.fleet_ca[0].id
  secret_data = var.memorystore.ca
}

resource "google_secret_manager_secret_iam_member" "fleet_ca" {
  count     = var.memorystore == null ? 0 : 1
  secret_id = google_secret_manager_secret.fleet_ca[0].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.spansieve.member
}

resource "google_cloud_run_v2_service" "spansieve" {
  project  = var.project
  name     = "spansieve"
  location = var.region

  # Only your VPC network can send. With that, senders need no ID token, which stock exporters cannot renew.
  ingress              = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  invoker_iam_disabled = true

  # It holds nothing that outlives it, so `terraform destroy` may remove it.
  deletion_protection = false

  lifecycle {
    precondition {
      condition     = var.memorystore == null || var.subnetwork != ""
      error_message = "memorystore needs subnetwork: the instances reach the server by Direct VPC egress from there."
    }
  }

  # One instance, unless several decide as one: the spans of a trace come to any of them.
  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.instances
  }

  template {
    service_account       = google_service_account.spansieve.email
    execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
    # The most that Cloud Run allows: Spansieve itself refuses by memory, and tells senders when to come back.
    max_instance_request_concurrency = 1000
    timeout                          = "60s"

    dynamic "vpc_access" {
      for_each = var.subnetwork == "" ? [] : [var.subnetwork]
      content {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          subnetwork = vpc_access.value
        }
      }
    }

    containers {
      name  = "spansieve"
      image = var.image
      args  = ["run", "--config", "/etc/spansieve/config.yaml"]

      # HTTP/2 up to the container, for gRPC and for requests of more than 32 MiB.
      ports {
        name           = "h2c"
        container_port = 8080
      }

      resources {
        limits = { cpu = "1", memory = "2Gi" }
        # Instance-based billing: decisions and writes happen between requests, and need the CPU then.
        cpu_idle          = false
        startup_cpu_boost = true
      }

      startup_probe {
        period_seconds    = 1
        failure_threshold = 30
        http_get {
          path = "/readyz"
          port = 8080
        }
      }

      liveness_probe {
        period_seconds = 10
        http_get {
          path = "/livez"
          port = 8080
        }
      }

      volume_mounts {
        name       = "config"
        mount_path = "/etc/spansieve"
      }

      dynamic "env" {
        for_each = var.memorystore == null ? [] : [var.memorystore.url]
        content {
          name  = "FLEET_URL"
          value = env.value
        }
      }

      dynamic "volume_mounts" {
        for_each = var.memorystore == null ? [] : ["fleet"]
        content {
          name       = volume_mounts.value
          mount_path = "/etc/spansieve-fleet"
        }
      }
    }

    # It finds /metrics on port 8080 by itself.
    dynamic "containers" {
      for_each = var.gmp_sidecar_image == "" ? [] : [var.gmp_sidecar_image]
      content {
        name       = "metrics"
        image      = containers.value
        depends_on = ["spansieve"]
      }
    }

    volumes {
      name = "config"
      secret {
        secret = google_secret_manager_secret.config.secret_id
        # A version, not "latest": each change of the configuration is a revision, which starts with it or not at all.
        items {
          version = google_secret_manager_secret_version.config.version
          path    = "config.yaml"
        }
      }
    }

    dynamic "volumes" {
      for_each = var.memorystore == null ? [] : ["fleet"]
      content {
        name = volumes.value
        secret {
          secret = google_secret_manager_secret.fleet_ca[0].secret_id
          items {
            version = google_secret_manager_secret_version.fleet_ca[0].version
            path    = "ca.pem"
          }
        }
      }
    }
  }

  depends_on = [
    google_project_service.api,
    google_project_iam_member.spansieve,
    google_secret_manager_secret_iam_member.config,
    google_secret_manager_secret_iam_member.fleet_ca,
  ]
}

output "endpoint" {
  description = "The OTEL_EXPORTER_OTLP_ENDPOINT of the services that send."
  value       = google_cloud_run_v2_service.spansieve.uri
}
