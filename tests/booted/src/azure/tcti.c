/* A TCTI for the kernel's device that reaches a server's port instead: clients that know no other have their TPM there.
 * TPM2TOOLS_TCTI, as tpm2-tools read it, names the server. */
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_tcti.h>
#include <tss2/tss2_tcti_swtpm.h>

static TSS2_RC init(TSS2_TCTI_CONTEXT *context, size_t *size, const char *device)
{
	static const char PREFIX[] = "swtpm:";
	const char *server = getenv("TPM2TOOLS_TCTI");

	(void)device;
	if (!server || strncmp(server, PREFIX, sizeof PREFIX - 1))
		return TSS2_TCTI_RC_BAD_VALUE;
	return Tss2_Tcti_Swtpm_Init(context, size, server + sizeof PREFIX - 1);
}

static const TSS2_TCTI_INFO INFO = { .version = 1, .name = "device", .description = "a server's port", .config_help = "", .init = init };

const TSS2_TCTI_INFO *Tss2_Tcti_Info(void)
{
	return &INFO;
}
