// SPDX-License-Identifier: GPL-2.0-only
/*
 * The callbacks of a client of the powercap framework: each answers what it was told to, and is written down.
 *
 * Zones and control types are found by their addresses; while one is being registered, only it can be meant.
 */
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "raplica_framework.h"

#define LOG_BYTES (64 << 10)

static const char * const callback_names[CALLBACKS] = {
	"get_max_energy_range_uj", "get_energy_uj", "reset_energy_uj", "get_max_power_range_uw", "get_power_uw",
	"set_enable", "get_enable", "release", "set_power_limit_uw", "get_power_limit_uw", "set_time_window_us",
	"get_time_window_us", "get_max_power_uw", "get_min_power_uw", "get_max_time_window_us",
	"get_min_time_window_us", "get_name",
};

static const struct { const char *name; int number; } errors[] = {
	{ "ok", 0 }, { "EPERM", EPERM }, { "EIO", EIO }, { "EAGAIN", EAGAIN }, { "EACCES", EACCES }, { "EBUSY", EBUSY },
	{ "ENODEV", ENODEV }, { "EINVAL", EINVAL }, { "ENOSYS", ENOSYS }, { "ENODATA", ENODATA },
};

LIST_HEAD(raplica_things);
struct thing *raplica_registering;
static DEFINE_SPINLOCK(log_lock);
static char *log_text;
static size_t log_used;

int raplica_callback(const char *name)
{
	return match_string(callback_names, CALLBACKS, name);
}

/* The index of an error, or -1. */
int raplica_error(const char *name)
{
	int index;

	for (index = 0; index < ARRAY_SIZE(errors); index++)
		if (!strcmp(errors[index].name, name))
			return index;
	return -1;
}

int raplica_log_start(void)
{
	log_text = kvzalloc(LOG_BYTES, GFP_KERNEL);
	return log_text ? 0 : -ENOMEM;
}

void raplica_log_stop(void)
{
	kvfree(log_text);
}

void raplica_log_clear(void)
{
	log_used = 0;
}

ssize_t raplica_log_read(char __user *to, size_t length, loff_t *position)
{
	if (log_used >= LOG_BYTES - 1)
		return -EOVERFLOW;
	return simple_read_from_buffer(to, length, position, log_text, log_used);
}

static struct thing *of_zone(const struct powercap_zone *zone)
{
	struct thing *thing;

	if (raplica_registering)
		return raplica_registering;
	list_for_each_entry(thing, &raplica_things, node)
		if (!thing->is_type && thing->zone == zone && !thing->released)
			return thing;
	return NULL;
}

static struct thing *of_type(const struct powercap_control_type *type)
{
	struct thing *thing;

	if (raplica_registering)
		return raplica_registering;
	list_for_each_entry(thing, &raplica_things, node)
		if (thing->is_type && thing->type == type && !thing->released)
			return thing;
	return NULL;
}

/* Write down one call, and find the error that it ends with. */
static int called(struct thing *thing, enum callback callback, int constraint, const u64 *value)
{
	int error = thing ? thing->answers[callback][max(constraint, 0)].error : 0;
	char which[8] = "", given[24] = "";
	unsigned long flags;

	if (constraint >= 0)
		snprintf(which, sizeof(which), ".%d", constraint);
	if (value)
		snprintf(given, sizeof(given), " %llu", *value);
	spin_lock_irqsave(&log_lock, flags);
	log_used += scnprintf(log_text + log_used, LOG_BYTES - log_used, "%s %s%s%s: %s\n", thing ? thing->key : "?",
			      callback_names[callback], which, given, errors[error].name);
	spin_unlock_irqrestore(&log_lock, flags);
	return -errors[error].number;
}

static int give(struct thing *thing, enum callback callback, int constraint, u64 *value)
{
	int error = called(thing, callback, constraint, NULL);

	if (!error && thing)
		*value = thing->answers[callback][max(constraint, 0)].value;
	return error;
}

/* A setter leaves its value to the getter that comes after it in the list of callbacks. */
static int take(struct thing *thing, enum callback callback, int constraint, u64 value)
{
	int error = called(thing, callback, constraint, &value);

	if (!error && thing)
		thing->answers[callback + 1][max(constraint, 0)].value = value;
	return error;
}

#define GETTER(name, callback) \
	static int name(struct powercap_zone *zone, u64 *value) { return give(of_zone(zone), callback, -1, value); }
#define CONSTRAINT_GETTER(name, callback) \
	static int name(struct powercap_zone *zone, int id, u64 *value) \
	{ return give(of_zone(zone), callback, id, value); }
#define CONSTRAINT_SETTER(name, callback) \
	static int name(struct powercap_zone *zone, int id, u64 value) \
	{ return take(of_zone(zone), callback, id, value); }

GETTER(get_max_energy_range, GET_MAX_ENERGY_RANGE)
GETTER(get_energy, GET_ENERGY)
GETTER(get_max_power_range, GET_MAX_POWER_RANGE)
GETTER(get_power, GET_POWER)
CONSTRAINT_SETTER(set_limit, SET_LIMIT)
CONSTRAINT_GETTER(get_limit, GET_LIMIT)
CONSTRAINT_SETTER(set_window, SET_WINDOW)
CONSTRAINT_GETTER(get_window, GET_WINDOW)
CONSTRAINT_GETTER(get_max_power, GET_MAX_POWER)
CONSTRAINT_GETTER(get_min_power, GET_MIN_POWER)
CONSTRAINT_GETTER(get_max_window, GET_MAX_WINDOW)
CONSTRAINT_GETTER(get_min_window, GET_MIN_WINDOW)

static int reset_energy(struct powercap_zone *zone)
{
	struct thing *thing = of_zone(zone);
	int error = called(thing, RESET_ENERGY, -1, NULL);

	if (!error && thing)
		thing->answers[GET_ENERGY][0].value = 0;
	return error;
}

static int zone_set_enable(struct powercap_zone *zone, bool mode)
{
	return take(of_zone(zone), SET_ENABLE, -1, mode);
}

static int type_set_enable(struct powercap_control_type *type, bool mode)
{
	return take(of_type(type), SET_ENABLE, -1, mode);
}

static int get_enable(struct thing *thing, bool *mode)
{
	u64 value = 0;
	int error = give(thing, GET_ENABLE, -1, &value);

	*mode = value;
	return error;
}

static int zone_get_enable(struct powercap_zone *zone, bool *mode)
{
	return get_enable(of_zone(zone), mode);
}

static int type_get_enable(struct powercap_control_type *type, bool *mode)
{
	return get_enable(of_type(type), mode);
}

static int release(struct thing *thing)
{
	if (thing)
		thing->released = true;
	return called(thing, RELEASE, -1, NULL);
}

static int zone_release(struct powercap_zone *zone)
{
	return release(of_zone(zone));
}

static int type_release(struct powercap_control_type *type)
{
	return release(of_type(type));
}

static const char *get_name(struct powercap_zone *zone, int id)
{
	struct thing *thing = of_zone(zone);

	called(thing, GET_NAME, id, NULL);
	return thing && thing->answers[GET_NAME][id].named ? thing->answers[GET_NAME][id].name : NULL;
}

void raplica_choose(struct thing *thing, unsigned long set)
{
	struct powercap_zone_constraint_ops *constraint = &thing->constraint_ops;
	struct powercap_control_type_ops *type = &thing->type_ops;
	struct powercap_zone_ops *zone = &thing->zone_ops;

#define CHOOSE(ops, member, callback, function) ((ops)->member = set & BIT(callback) ? (function) : NULL)
	CHOOSE(type, set_enable, SET_ENABLE, type_set_enable);
	CHOOSE(type, get_enable, GET_ENABLE, type_get_enable);
	CHOOSE(type, release, RELEASE, type_release);
	CHOOSE(zone, get_max_energy_range_uj, GET_MAX_ENERGY_RANGE, get_max_energy_range);
	CHOOSE(zone, get_energy_uj, GET_ENERGY, get_energy);
	CHOOSE(zone, reset_energy_uj, RESET_ENERGY, reset_energy);
	CHOOSE(zone, get_max_power_range_uw, GET_MAX_POWER_RANGE, get_max_power_range);
	CHOOSE(zone, get_power_uw, GET_POWER, get_power);
	CHOOSE(zone, set_enable, SET_ENABLE, zone_set_enable);
	CHOOSE(zone, get_enable, GET_ENABLE, zone_get_enable);
	CHOOSE(zone, release, RELEASE, zone_release);
	CHOOSE(constraint, set_power_limit_uw, SET_LIMIT, set_limit);
	CHOOSE(constraint, get_power_limit_uw, GET_LIMIT, get_limit);
	CHOOSE(constraint, set_time_window_us, SET_WINDOW, set_window);
	CHOOSE(constraint, get_time_window_us, GET_WINDOW, get_window);
	CHOOSE(constraint, get_max_power_uw, GET_MAX_POWER, get_max_power);
	CHOOSE(constraint, get_min_power_uw, GET_MIN_POWER, get_min_power);
	CHOOSE(constraint, get_max_time_window_us, GET_MAX_WINDOW, get_max_window);
	CHOOSE(constraint, get_min_time_window_us, GET_MIN_WINDOW, get_min_window);
	CHOOSE(constraint, get_name, GET_NAME, get_name);
}
