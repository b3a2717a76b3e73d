// SPDX-License-Identifier: Apache-2.0
/*
 * An ordinary Windows program that makes one Win32 call for each line of its input, and says in a line of JSON what
 * came of it.
 *
 * A line is the name of the call, then NAME=VALUE arguments, separated by blanks; %XX in a value is a character. What
 * is opened is kept under the name `keep`, and met again under that name. A failure is {"ok":false,"error":N}, N being
 * GetLastError(). What a call may leave as it was starts with a mark, and is told only where the mark is gone.
 */
#include <windows.h>
#include <winioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define MAX_ARGUMENTS 16
#define MAX_HANDLES 64
#define LINE 4096
#define BUFFER 256
#define UNTOUCHED 0xEE
#define UNTOUCHED_LENGTH 0xEEEEEEEEu

struct call {
	char *name;
	int count;
	char *keys[MAX_ARGUMENTS];
	char *values[MAX_ARGUMENTS];
};

static struct {
	char name[16];
	void *handle;
} handles[MAX_HANDLES];

static void die(const char *what, const char *which)
{
	fprintf(stderr, "client: %s %s\n", what, which);
	exit(2);
}

/* --- arguments ------------------------------------------------------------------------------------------------- */

static const char *find(const struct call *call, const char *key)
{
	int i;

	for (i = 0; i < call->count; i++)
		if (!strcmp(call->keys[i], key))
			return call->values[i];
	return NULL;
}

static const char *text(const struct call *call, const char *key)
{
	const char *value = find(call, key);

	if (!value)
		die("missing argument", key);
	return value;
}

static DWORD number(const struct call *call, const char *key, DWORD otherwise)
{
	const char *value = find(call, key);

	return value ? (DWORD)strtoul(value, NULL, 0) : otherwise;
}

static WCHAR *wide(const struct call *call, const char *key)
{
	const char *value = find(call, key);
	WCHAR *made, *end;

	if (!value)
		return NULL;
	end = made = calloc(strlen(value) + 1, sizeof(*made));
	while (made && *value) {
		char hex[3] = { value[0], 0, 0 };

		if (*value == '%' && value[1] && value[2]) {
			hex[0] = value[1];
			hex[1] = value[2];
			*end++ = (WCHAR)strtoul(hex, NULL, 16);
			value += 3;
		} else {
			*end++ = (unsigned char)*value++;
		}
	}
	return made;
}

static DWORD bytes(const char *hex, BYTE *into)
{
	DWORD count = 0;

	for (; hex && hex[0] && hex[1] && count < BUFFER; hex += 2) {
		char pair[3] = { hex[0], hex[1], 0 };

		into[count++] = (BYTE)strtoul(pair, NULL, 16);
	}
	return count;
}

static void **slot(const char *name)
{
	int i;

	for (i = 0; i < MAX_HANDLES; i++)
		if (!strcmp(handles[i].name, name))
			return &handles[i].handle;
	return NULL;
}

/* What was never opened is NULL, as a variable of a program would be. */
static void *known(const struct call *call, const char *key)
{
	void **found = slot(text(call, key));

	return found ? *found : NULL;
}

static void keep(const struct call *call, void *handle)
{
	const char *name = text(call, "keep");
	void **place = slot(name);
	int i;

	for (i = 0; !place && i < MAX_HANDLES; i++) {
		if (handles[i].name[0])
			continue;
		strncpy(handles[i].name, name, sizeof(handles[i].name) - 1);
		place = &handles[i].handle;
	}
	if (!place)
		die("too many handles for", name);
	*place = handle;
}

/* --- answers --------------------------------------------------------------------------------------------------- */

static void say_wide(const char *key, const WCHAR *value)
{
	printf(",\"%s\":\"", key);
	for (; value && *value; value++) {
		if (*value == L'"' || *value == L'\\' || *value < 0x20 || *value > 0x7E)
			printf("\\u%04x", *value);
		else
			putchar(*value);
	}
	putchar('"');
}

static void say_ok(BOOL ok, DWORD error)
{
	printf(ok ? "{\"ok\":true" : "{\"ok\":false,\"error\":%lu", error);
}

static void say_opened(const struct call *call, void *handle, BOOL ok)
{
	DWORD error = GetLastError();

	keep(call, handle);
	say_ok(ok, error);
}

/* Wine fills a status after every error, mostly with what its memory held: only those that mean something are told. */
static void say_status(const SERVICE_STATUS *status, BOOL ok, DWORD error)
{
	if (!ok && error != ERROR_SERVICE_NOT_ACTIVE && error != ERROR_SERVICE_CANNOT_ACCEPT_CTRL)
		return;
	printf(",\"type\":%lu,\"state\":%lu,\"accepts\":%lu,\"exit_code\":%lu,\"specific_code\":%lu",
	       status->dwServiceType, status->dwCurrentState, status->dwControlsAccepted, status->dwWin32ExitCode,
	       status->dwServiceSpecificExitCode);
}

/* --- services -------------------------------------------------------------------------------------------------- */

static void open_manager(const struct call *call)
{
	SC_HANDLE manager = OpenSCManagerW(wide(call, "machine"), wide(call, "database"), number(call, "access", 0));

	say_opened(call, manager, manager != NULL);
}

static void create_service(const struct call *call)
{
	SC_HANDLE service = CreateServiceW(known(call, "manager"), wide(call, "name"), wide(call, "display"),
					   number(call, "access", SERVICE_ALL_ACCESS), number(call, "type", 0),
					   number(call, "start", 0), number(call, "severity", 1), wide(call, "path"), NULL,
					   NULL, NULL, NULL, NULL);

	say_opened(call, service, service != NULL);
}

static void open_service(const struct call *call)
{
	SC_HANDLE service = OpenServiceW(known(call, "manager"), wide(call, "name"),
					 number(call, "access", SERVICE_ALL_ACCESS));

	say_opened(call, service, service != NULL);
}

static void start_service(const struct call *call)
{
	BOOL ok = StartServiceW(known(call, "service"), 0, NULL);

	say_ok(ok, GetLastError());
}

static void control_service(const struct call *call)
{
	SERVICE_STATUS status;
	BOOL ok = ControlService(known(call, "service"), number(call, "control", 0), &status);
	DWORD error = GetLastError();

	say_ok(ok, error);
	say_status(&status, ok, error);
}

static void query_status(const struct call *call)
{
	SERVICE_STATUS status;
	BOOL ok = QueryServiceStatus(known(call, "service"), &status);
	DWORD error = GetLastError();

	say_ok(ok, error);
	say_status(&status, ok, error);
}

static void query_config(const struct call *call)
{
	union {
		QUERY_SERVICE_CONFIGW config;
		BYTE room[8192];
	} found;
	DWORD needed;
	BOOL ok = QueryServiceConfigW(known(call, "service"), &found.config, sizeof(found), &needed);

	say_ok(ok, GetLastError());
	if (!ok)
		return;
	printf(",\"type\":%lu,\"start\":%lu,\"severity\":%lu", found.config.dwServiceType, found.config.dwStartType,
	       found.config.dwErrorControl);
	say_wide("display", found.config.lpDisplayName);
	say_wide("path", found.config.lpBinaryPathName);
}

static void delete_service(const struct call *call)
{
	BOOL ok = DeleteService(known(call, "service"));

	say_ok(ok, GetLastError());
}

static void close_service_handle(const struct call *call)
{
	BOOL ok = CloseServiceHandle(known(call, "handle"));

	say_ok(ok, GetLastError());
}

/* --- devices --------------------------------------------------------------------------------------------------- */

static HANDLE open_device(const struct call *call)
{
	return CreateFileW(wide(call, "path"), number(call, "access", GENERIC_READ | GENERIC_WRITE),
			   number(call, "share", FILE_SHARE_READ | FILE_SHARE_WRITE), NULL,
			   number(call, "disposition", OPEN_EXISTING), number(call, "flags", 0), NULL);
}

static void create_file(const struct call *call)
{
	HANDLE device = open_device(call);

	say_opened(call, device, device != INVALID_HANDLE_VALUE);
}

static void close_handle(const struct call *call)
{
	BOOL ok = CloseHandle(known(call, "handle"));

	say_ok(ok, GetLastError());
}

static size_t append(char *into, size_t used, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	used += vsnprintf(into + used, LINE - used, format, arguments);
	va_end(arguments);
	return used;
}

/* One DeviceIoControl, told into `into`: the length that came back, and what the caller's memory then holds. */
static void control_device(const struct call *call, HANDLE device, char *into)
{
	DWORD returned = UNTOUCHED_LENGTH, room, given, length, error, i;
	const char *output = find(call, "output");
	BYTE in[BUFFER], out[2 * BUFFER];
	size_t used;
	BOOL ok;

	given = bytes(find(call, "input"), in);
	length = number(call, "input_length", given);
	room = number(call, "output_length", 0);
	if (room > BUFFER)
		die("an output_length that is too long in", call->name);
	memset(out, UNTOUCHED, sizeof(out));
	SetLastError(0);
	ok = DeviceIoControl(device, number(call, "code", 0), find(call, "input") ? in : NULL, length,
			     output && !strcmp(output, "null") ? NULL : out, room, &returned, NULL);
	error = GetLastError();
	used = append(into, 0, ok ? "\"ok\":true" : "\"ok\":false,\"error\":%lu", error);
	if (returned != UNTOUCHED_LENGTH)
		used = append(into, used, ",\"returned\":%lu", returned);
	/* The output up to its last byte that is another than before; beyond the buffer's end nothing may be. */
	for (i = sizeof(out); i > 0 && out[i - 1] == UNTOUCHED; i--)
		;
	if (i > 0) {
		DWORD end = i;

		used = append(into, used, ",\"output\":\"");
		for (i = 0; i < end; i++)
			used = append(into, used, "%02x", out[i]);
		used = append(into, used, "\"");
		if (end > room)
			append(into, used, ",\"overrun\":%lu", end - room);
	}
}

static void device_io_control(const struct call *call)
{
	char answer[LINE];

	control_device(call, known(call, "handle"), answer);
	printf("{%s", answer);
}

/* --- many at once ---------------------------------------------------------------------------------------------- */

struct crowd {
	const struct call *call;
	HANDLE begin;
	char (*answers)[LINE];
	int times;
};

struct member {
	struct crowd *crowd;
	char (*answers)[LINE];
};

static DWORD WINAPI run_member(void *argument)
{
	struct member *member = argument;
	struct crowd *crowd = member->crowd;
	int i;

	WaitForSingleObject(crowd->begin, INFINITE);
	for (i = 0; i < crowd->times; i++) {
		HANDLE device = open_device(crowd->call);

		if (device == INVALID_HANDLE_VALUE) {
			append(member->answers[i], 0, "\"ok\":false,\"open_error\":%lu", GetLastError());
			continue;
		}
		control_device(crowd->call, device, member->answers[i]);
		CloseHandle(device);
	}
	return 0;
}

static int by_text(const void *one, const void *other)
{
	return strcmp(one, other);
}

/* `threads` threads open, ask and close, `times` each; the different answers are told with their counts. */
static void crowd(const struct call *call)
{
	int threads = number(call, "threads", 1), times = number(call, "times", 1), all = threads * times, i, same;
	struct crowd crowd = { .call = call, .times = times };
	struct member members[MAXIMUM_WAIT_OBJECTS];
	HANDLE running[MAXIMUM_WAIT_OBJECTS];

	if (threads > MAXIMUM_WAIT_OBJECTS)
		die("too many threads in", call->name);
	crowd.begin = CreateEventW(NULL, TRUE, FALSE, NULL);
	crowd.answers = calloc(all, LINE);
	for (i = 0; crowd.answers && i < threads; i++) {
		members[i] = (struct member){ .crowd = &crowd, .answers = crowd.answers + i * times };
		running[i] = CreateThread(NULL, 0, run_member, &members[i], 0, NULL);
		if (!running[i])
			die("no thread for", call->name);
	}
	SetEvent(crowd.begin);
	WaitForMultipleObjects(threads, running, TRUE, INFINITE);
	for (i = 0; i < threads; i++)
		CloseHandle(running[i]);
	CloseHandle(crowd.begin);
	qsort(crowd.answers, all, LINE, by_text);
	printf("{\"answers\":[");
	for (i = 0; i < all; i += same) {
		for (same = 1; i + same < all && !strcmp(crowd.answers[i], crowd.answers[i + same]); same++)
			;
		printf("%s{\"times\":%d,%s}", i ? "," : "", same, crowd.answers[i]);
	}
	printf("]");
	free(crowd.answers);
}

/* --- the loop -------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*make)(const struct call *call);
} calls[] = {
	{ "OpenSCManager", open_manager },
	{ "CreateService", create_service },
	{ "OpenService", open_service },
	{ "StartService", start_service },
	{ "ControlService", control_service },
	{ "QueryServiceStatus", query_status },
	{ "QueryServiceConfig", query_config },
	{ "DeleteService", delete_service },
	{ "CloseServiceHandle", close_service_handle },
	{ "CreateFile", create_file },
	{ "DeviceIoControl", device_io_control },
	{ "CloseHandle", close_handle },
	{ "Crowd", crowd },
};

static void parse(char *line, struct call *call)
{
	char *word = strtok(line, " \r\n");

	call->name = word;
	call->count = 0;
	while (word && (word = strtok(NULL, " \r\n"))) {
		char *equals = strchr(word, '=');

		if (!equals || call->count == MAX_ARGUMENTS)
			die("not an argument, or one too many:", word);
		*equals = 0;
		call->keys[call->count] = word;
		call->values[call->count++] = equals + 1;
	}
}

int main(void)
{
	static char line[LINE];
	struct call call;
	size_t i;

	while (fgets(line, sizeof(line), stdin)) {
		parse(line, &call);
		if (!call.name)
			continue;
		for (i = 0; i < ARRAYSIZE(calls) && strcmp(calls[i].name, call.name); i++)
			;
		if (i == ARRAYSIZE(calls))
			die("no such call:", call.name);
		calls[i].make(&call);
		printf("}\n");
		fflush(stdout);
	}
	return 0;
}
