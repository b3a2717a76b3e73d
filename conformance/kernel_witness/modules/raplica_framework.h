/* SPDX-License-Identifier: GPL-2.0-only */
/* What the two halves of raplica_framework know of each other. */
#ifndef RAPLICA_FRAMEWORK_H
#define RAPLICA_FRAMEWORK_H

#include <linux/list.h>
#include <linux/powercap.h>
#include <linux/types.h>

enum callback {
	GET_MAX_ENERGY_RANGE, GET_ENERGY, RESET_ENERGY, GET_MAX_POWER_RANGE, GET_POWER, SET_ENABLE, GET_ENABLE, RELEASE,
	SET_LIMIT, GET_LIMIT, SET_WINDOW, GET_WINDOW, GET_MAX_POWER, GET_MIN_POWER, GET_MAX_WINDOW, GET_MIN_WINDOW,
	GET_NAME, CALLBACKS
};

/* What a callback answers for one constraint, or for its zone or control type. */
struct answer {
	u64 value;
	int error;	/* an index into errors[] */
	bool named;
	char name[64];
};

/* A control type or a zone. It stays until the module goes: the framework may hold on to its callbacks. */
struct thing {
	struct list_head node;
	char key[16];
	bool registered, released, is_type;
	struct powercap_control_type *type;	/* itself, or the one that its zone was registered with */
	struct powercap_zone *zone;
	struct powercap_control_type own_type;
	struct powercap_zone own_zone;
	struct powercap_control_type_ops type_ops;
	struct powercap_zone_ops zone_ops;
	struct powercap_zone_constraint_ops constraint_ops;
	struct answer answers[CALLBACKS][MAX_CONSTRAINTS_PER_ZONE];
};

/* framework_client.c */
extern struct list_head raplica_things;		/* the newest first */
extern struct thing *raplica_registering;	/* until the framework has said where it put it */
int raplica_callback(const char *name);
int raplica_error(const char *name);
void raplica_choose(struct thing *thing, unsigned long set);
int raplica_log_start(void);
void raplica_log_stop(void);
void raplica_log_clear(void);
ssize_t raplica_log_read(char __user *to, size_t length, loff_t *position);

#endif
