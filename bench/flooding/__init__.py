"""`bench.flood`: a home agent serves its nodes while strangers flood it with IKE_SA_INIT."""
